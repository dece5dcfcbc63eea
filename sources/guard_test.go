package sources

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/sources/gitserver"
)

func TestAddressesThatTenantsMayNotReach(t *testing.T) {
	t.Parallel()
	g := guard{func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("127.0.0.1:7080") }}
	for addr, ok := range map[string]bool{
		"192.0.2.1:443":               true,
		"10.1.2.3:22":                 true, // git hosts of one's own network
		"[2001:db8::1]:443":           true,
		"127.0.0.1:7080":              true,
		"[::ffff:127.0.0.1]:7080":     true,
		"127.0.0.1:7081":              false,
		"127.8.8.8:80":                false,
		"0.0.0.0:80":                  false,
		"[::]:80":                     false,
		"[::1]:80":                    false,
		"[::ffff:127.0.0.1]:80":       false,
		"[::127.0.0.1]:80":            false,
		"169.254.169.254:80":          false,
		"[::ffff:169.254.169.254]:80": false,
		"[64:ff9b::a9fe:a9fe]:80":     false,
		"[2002:a9fe:a9fe::1]:80":      false,
		"[fe80::1%eth0]:80":           false,
		"[fd00:ec2::254]:80":          false,
		"100.100.100.200:80":          false,
		"224.0.0.1:80":                false,
		"[ff02::1]:80":                false,
	} {
		if err := g.check(netip.MustParseAddrPort(addr)); (err == nil) != ok || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// nowhere is what a server without exceptions lets tenants reach of its own host.
func nowhere(netip.AddrPort) bool { return false }

func TestTenantsReachNothingOfThisHost(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	port := h.server.URL[strings.LastIndex(h.server.URL, ":"):]
	mine, key := newKey(t)
	host, _ := newKey(t)
	addr := sshHost(t, host, mine.PublicKey())
	m := newTestMirrors(t, t.TempDir(), Options{Reachable: nowhere, Schemes: []string{"http", "ssh", "git"}})
	secret := &corev1.Secret{Data: map[string][]byte{"identity": key, "known_hosts": []byte("* " + authorized(host.PublicKey()) + "\n")}}
	for _, url := range []string{h.url, "http://localhost" + port + "/shop.git", "http://[::1]" + port + "/shop.git", "http://[::ffff:127.0.0.1]" + port + "/shop.git",
		"ssh://git@" + addr + h.bare, "git://" + gitDaemon(t, h.root) + "/shop.git", "http://169.254.169.254/latest/x.git"} {
		r, l := openTest(t, m, url)
		err := r.Fetch(testContext(t), l, CredentialsFrom(secret))
		if !errors.Is(err, ErrAddress) || reason(err) != ReasonAddressRefused {
			t.Errorf("%s: %v", url, err)
		}
	}
	r, l := openTest(t, m, h.url)
	if err := r.Fetch(testContext(t), l, Credentials{trusted: true}); err != nil {
		t.Errorf("an administrator: %v", err)
	}
}

func TestARedirectLeadsNoTenantAside(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	bait := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, h.server.URL+req.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(bait.Close)
	only := netip.MustParseAddrPort(bait.Listener.Addr().String())
	m := newTestMirrors(t, t.TempDir(), Options{Reachable: func(a netip.AddrPort) bool { return a == only }})
	r, l := openTest(t, m, bait.URL+"/shop.git")
	if err := r.Fetch(testContext(t), l, Credentials{}); !errors.Is(err, ErrAddress) {
		t.Errorf("through a redirect: %v", err)
	}
}

// gitDaemon serves the git protocol with git's own daemon.
func gitDaemon(t *testing.T, root string) string {
	t.Helper()
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
			go func() {
				defer conn.Close()
				cmd := exec.Command("git", "daemon", "--inetd", "--export-all", "--base-path="+root)
				cmd.Stdin, cmd.Stdout = conn, conn
				_ = cmd.Run()
			}()
		}
	}()
	return l.Addr().String()
}

func TestGitProtocolOnlyWhereItIsAllowed(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	url := "git://" + gitDaemon(t, h.root) + "/shop.git"
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), url)
	if err := r.Fetch(testContext(t), l, Credentials{}); !errors.Is(err, ErrURL) {
		t.Errorf("by default: %v", err)
	}
	r, l = openTest(t, newTestMirrors(t, t.TempDir(), Options{Schemes: []string{"git"}}), url)
	fetchTest(t, r, l)
	if got := readTest(t, treeAt(t, r, l, "main"), "f"); got != "1" {
		t.Errorf("f = %q", got)
	}
	// The other schemes were not named.
	r, l = openTest(t, newTestMirrors(t, t.TempDir(), Options{Schemes: []string{"git"}}), h.url)
	if err := r.Fetch(testContext(t), l, Credentials{}); !errors.Is(err, ErrURL) {
		t.Errorf("http: %v", err)
	}
}
