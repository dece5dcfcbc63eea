package sources

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// ErrCredentials says that a Secret does not hold what its repository's URL needs.
var ErrCredentials = errors.New("credentials")

// Credentials open one repository. They are sent to the scheme, host and port of its
// URL and to nothing that it redirects to.
type Credentials struct {
	// Scope is the project that they belong to; mirrors fetched with them are not
	// shown to another one.
	Scope string
	// trusted says that they are the administrators': they may name files and addresses of
	// this host.
	trusted bool

	username, password string
	bearer             string
	identity           []byte
	knownHosts         []byte
	// signingKey signs what is committed, if it is set.
	signingKey      []byte
	signingPassword string
	// ca is a bundle of authorities beside the system's.
	ca []byte
}

// CredentialsFrom reads a Secret, with Flux's keys (username and password, bearerToken,
// identity and known_hosts, ca.crt or caFile) or those of Kubernetes' ssh-auth type
// (ssh-privatekey). signingKey, an SSH private key that signingKeyPassword may open,
// signs Slipway's own commits and tags. A nil Secret is no credentials.
func CredentialsFrom(secret *corev1.Secret) Credentials {
	if secret == nil {
		return Credentials{}
	}
	first := func(keys ...string) []byte {
		for _, k := range keys {
			if v := secret.Data[k]; len(v) > 0 {
				return v
			}
			if v := secret.StringData[k]; v != "" {
				return []byte(v)
			}
		}
		return nil
	}
	return Credentials{
		Scope:      secret.Namespace,
		username:   string(first("username")),
		password:   string(first("password")),
		bearer:     string(first("bearerToken")),
		identity:   first("identity", "ssh-privatekey"),
		knownHosts: first("known_hosts"),
		ca:         first("ca.crt", "caFile"),

		signingKey:      first("signingKey"),
		signingPassword: string(first("signingKeyPassword")),
	}
}

// administrators marks what belongs to the administrators' project. They may reach what
// others may not, so that their mirrors are shown to nobody else.
func (c Credentials) administrators(project string) Credentials {
	if project == api.SystemProject {
		c.trusted, c.Scope = true, project
	}
	return c
}

// auth is what go-git sends to l.
func (c Credentials) auth(l Location) (transport.AuthMethod, error) {
	switch l.Scheme {
	case "http", "https":
		switch {
		case c.bearer != "":
			return &githttp.TokenAuth{Token: c.bearer}, nil
		case c.username != "" || c.password != "":
			return &githttp.BasicAuth{Username: c.username, Password: c.password}, nil
		}
		return nil, nil
	case "ssh":
		return c.sshAuth(l)
	}
	return nil, nil
}

func (c Credentials) sshAuth(l Location) (transport.AuthMethod, error) {
	if len(c.identity) == 0 || len(c.knownHosts) == 0 {
		return nil, fmt.Errorf("%w: an ssh URL needs a Secret with the keys identity and known_hosts", ErrCredentials)
	}
	user := l.User
	if user == "" {
		user = "git"
	}
	keys, err := gitssh.NewPublicKeys(user, c.identity, c.password)
	if err != nil {
		return nil, fmt.Errorf("%w: identity is not a private key that its password opens", ErrCredentials)
	}
	known, err := knownHosts(c.knownHosts)
	if err != nil {
		return nil, fmt.Errorf("%w: known_hosts: %w", ErrCredentials, err)
	}
	host := net.JoinHostPort(l.hostPort())
	callback := known.HostKeyCallback()
	// What is dialled may be the host's address; what must be known is its name.
	keys.HostKeyCallback = func(_ string, remote net.Addr, key ssh.PublicKey) error { return callback(host, remote, key) }
	keys.HostKeyAlgorithms = known.HostKeyAlgorithms(host)
	return sshAuth{keys}, nil
}

// sshAuth bounds the time that a connection may take.
type sshAuth struct{ *gitssh.PublicKeys }

// ClientConfig is the library's, with a timeout.
func (a sshAuth) ClientConfig() (*ssh.ClientConfig, error) {
	config, err := a.PublicKeys.ClientConfig()
	if err == nil {
		config.Timeout = dialTimeout
	}
	return config, err
}

const dialTimeout = 15 * time.Second

// knownHosts reads known_hosts lines, plain or hashed; a host that is not among them
// is not spoken to. The library reads files only, so the lines are put in one for as
// long as it reads; they hold no secret.
func knownHosts(lines []byte) (*knownhosts.HostKeyDB, error) {
	f, err := os.CreateTemp("", "known_hosts-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(lines)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return knownhosts.NewDB(f.Name())
}
