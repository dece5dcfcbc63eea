package sources

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/sources/gitserver"
)

func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// sshHost serves git over ssh to one key.
func sshHost(t *testing.T, host ssh.Signer, allowed ssh.PublicKey) string {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, config)
		}
	}()
	return l.Addr().String()
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for open := range channels {
		channel, requests, err := open.Accept()
		if err != nil {
			return
		}
		for req := range requests {
			var command struct{ Line string }
			if req.Type != "exec" || ssh.Unmarshal(req.Payload, &command) != nil || !strings.HasPrefix(command.Line, "git-") {
				_ = req.Reply(false, nil)
				continue
			}
			_ = req.Reply(true, nil)
			cmd := exec.Command("sh", "-c", "git "+strings.TrimPrefix(command.Line, "git-"))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
			_ = cmd.Run()
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
			channel.Close()
		}
	}
}

func TestSSH(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	host, _ := newKey(t)
	other, otherKey := newKey(t)
	mine, myKey := newKey(t)
	addr := sshHost(t, host, mine.PublicKey())
	line := func(key ssh.PublicKey) []byte {
		return []byte(knownhosts.Line([]string{knownhosts.Normalize(addr)}, key) + "\n")
	}
	url := "ssh://git@" + addr + h.bare
	for _, c := range []struct {
		name string
		data map[string][]byte
		ok   bool
		auth bool
	}{
		{"all there", map[string][]byte{"identity": myKey, "known_hosts": line(host.PublicKey())}, true, false},
		{"kubernetes' key name", map[string][]byte{"ssh-privatekey": myKey, "known_hosts": line(host.PublicKey())}, true, false},
		{"another host key", map[string][]byte{"identity": myKey, "known_hosts": line(other.PublicKey())}, false, false},
		{"another identity", map[string][]byte{"identity": otherKey, "known_hosts": line(host.PublicKey())}, false, false},
		{"no known hosts", map[string][]byte{"identity": myKey}, false, true},
		{"no identity", map[string][]byte{"known_hosts": line(host.PublicKey())}, false, true},
		{"broken identity", map[string][]byte{"identity": []byte("x"), "known_hosts": line(host.PublicKey())}, false, true},
		{"broken known hosts", map[string][]byte{"identity": myKey, "known_hosts": []byte("x y")}, false, true},
	} {
		m := newTestMirrors(t, t.TempDir(), Options{})
		r, l := openTest(t, m, url)
		err := r.Fetch(testContext(t), l, CredentialsFrom(&corev1.Secret{Data: c.data}))
		if (err == nil) != c.ok || c.auth != errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok {
			if got := readTest(t, treeAt(t, r, l, "main"), "f"); got != "1" {
				t.Errorf("%s: f = %q", c.name, got)
			}
		}
	}
}
