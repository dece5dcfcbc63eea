package remote

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"slipway.dev/slipway/state/nodecert"
)

// The files of an identity.
const (
	fileNode      = "node.json"
	filePair      = "node.pem" // certificate and key, replaced together
	fileNext      = "next.key" // the key that a certificate is being asked for
	fileAuthority = "authority.crt"
)

// ErrNotJoined says that a folder holds no identity.
var ErrNotJoined = errors.New("this is not the data directory of a node that has joined")

// Settings are what a node knows of itself and of the whole.
type Settings struct {
	Name string `json:"name"`
	// Servers are URLs, tried in this order.
	Servers []string `json:"servers"`
	// Found are those that live state names, tried after them.
	Found []string `json:"found,omitempty"`
	// Address is where others reach this host; empty: where servers see it.
	Address string           `json:"address,omitempty"`
	Cluster nodecert.Cluster `json:"cluster"`
}

// all are the servers that may be asked.
func (s Settings) all() []string {
	out := slices.Clone(s.Servers)
	for _, f := range s.Found {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// Identity is who a node is.
type Identity struct {
	dir       string
	authority *x509.Certificate

	mu       sync.Mutex
	settings Settings         // guarded by mu
	pair     *tls.Certificate // guarded by mu
}

// Load reads an identity from a folder; ErrNotJoined where there is none.
func Load(dir string) (*Identity, error) {
	i := &Identity{dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, fileNode))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotJoined)
	}
	if err == nil {
		err = json.Unmarshal(data, &i.settings)
	}
	var authority, pair []byte
	if err == nil {
		authority, err = os.ReadFile(filepath.Join(dir, fileAuthority))
	}
	if err == nil {
		i.authority, err = nodecert.ParseCertificate(authority)
	}
	if err == nil {
		pair, err = os.ReadFile(filepath.Join(dir, filePair))
	}
	if err == nil {
		i.pair, err = parsePair(pair)
	}
	if err != nil {
		return nil, fmt.Errorf("identity of the node: %w", err)
	}
	return i, nil
}

func parsePair(data []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	if pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	return &pair, err
}

// Settings are what is known now.
func (i *Identity) Settings() Settings {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.settings
}

// SetServers replaces where servers are.
func (i *Identity) SetServers(servers []string) error {
	for _, s := range servers {
		if err := checkServer(s); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settings.Servers = servers
	return i.save()
}

// SetFound replaces which servers live state names. What is no server's URL is left out.
func (i *Identity) SetFound(found []string) error {
	found = slices.DeleteFunc(slices.Clone(found), func(s string) bool { return checkServer(s) != nil })
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.Equal(found, i.settings.Found) {
		return nil
	}
	i.settings.Found = found
	return i.save()
}

func checkServer(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("--server %q: want the address of a server's node API, such as https://10.0.0.1:7082", s)
	}
	return nil
}

func (i *Identity) certificate() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pair
}

// Answering is how the node listens for servers' questions.
func (i *Identity) Answering() *tls.Config { return nodecert.Answering(i.authority, i.certificate) }

// save writes the settings; it needs mu held.
func (i *Identity) save() error {
	data, err := json.MarshalIndent(i.settings, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(i.dir, fileNode), append(data, '\n'))
}

// nextKey is the key to ask a certificate for. It is on disk before anybody is asked: should
// the answer be lost, the same key is asked for again.
func nextKey(dir string) (*ecdsa.PrivateKey, error) {
	name := filepath.Join(dir, fileNext)
	data, err := os.ReadFile(name)
	if err == nil {
		if key, err := nodecert.ParseKey(data); err == nil {
			return key, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := nodecert.NewKey()
	if err != nil {
		return nil, err
	}
	if data, err = nodecert.EncodeKey(key); err != nil {
		return nil, err
	}
	return key, writeFile(name, data)
}

// accept makes a server's answer this node's identity.
func (i *Identity) accept(key *ecdsa.PrivateKey, a *nodecert.Answer) error {
	text, err := nodecert.EncodeKey(key)
	if err != nil {
		return err
	}
	both := append([]byte(a.Certificate), text...)
	pair, err := parsePair(both)
	if err != nil {
		return fmt.Errorf("the certificate that the server gave: %w", err)
	}
	if err := pair.Leaf.CheckSignatureFrom(i.authority); err != nil {
		return fmt.Errorf("the certificate that the server gave: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settings.Cluster = a.Cluster
	if err := errors.Join(writeFile(filepath.Join(i.dir, filePair), both), i.save()); err != nil {
		return err
	}
	i.pair = pair
	if err := os.Remove(filepath.Join(i.dir, fileNext)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeFile replaces a file, which only its owner may read, so that after a crash it is the old one or the new one.
func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
