package server

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/sources"
)

// GitSchemes are the schemes of repositories that are fetched from unless told otherwise.
// git, which neither encrypts nor knows who answers, is not among them.
var GitSchemes = []string{"http", "https", "ssh", "file"}

func (s *server) openSources(context.Context) error {
	o, err := s.cfg.git()
	if err != nil {
		return err
	}
	o.Reachable = s.gitOfThisHost
	mirrors, err := sources.NewMirrors(s.cfg.dir("mirrors"), o)
	if err != nil {
		return err
	}
	s.closing(mirrors.Close)
	s.parts.sources = sources.New(sources.Deps{Client: s.client, Mirrors: mirrors, Events: s.events, Log: s.log})
	s.parts.deciding = append(s.parts.deciding, s.parts.sources.Controllers()...)
	return nil
}

// git is what is configured of git.
func (c *Config) git() (sources.Options, error) {
	o := sources.Options{Schemes: c.GitSchemes}
	for _, scheme := range c.GitSchemes {
		if scheme != "git" && !slices.Contains(GitSchemes, scheme) {
			return o, fmt.Errorf("--git-schemes %q: want some of %s, git", scheme, strings.Join(GitSchemes, ", "))
		}
	}
	if u, err := url.Parse(c.Repo); err == nil && u.Scheme == "file" {
		// The administrator named this one himself.
		o.FileRoots = []string{u.Path}
	}
	if c.Committer != "" {
		who, err := mail.ParseAddress(c.Committer)
		if err != nil || who.Name == "" {
			return o, fmt.Errorf("--committer %q: want a name and an address, such as Slipway <slipway@example.com>", c.Committer)
		}
		o.Committer = api.Identity{Name: who.Name, Email: who.Address}
	}
	if c.SigningKey == "" {
		return o, nil
	}
	key, err := os.ReadFile(c.SigningKey)
	if err != nil {
		return o, fmt.Errorf("--signing-key: %w", err)
	}
	o.SigningKey, err = ssh.ParsePrivateKey(key)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return o, fmt.Errorf("--signing-key %s: it has a passphrase, and nobody is there to enter it", c.SigningKey)
	case err != nil:
		return o, fmt.Errorf("--signing-key %s: want an SSH private key", c.SigningKey)
	}
	return o, nil
}

// gitOfThisHost says which of this host's own addresses every project may fetch from: the
// repositories that this server serves, and the place that the administrator named.
func (s *server) gitOfThisHost(addr netip.AddrPort) bool {
	if own, err := netip.ParseAddrPort(s.cfg.Listen); err == nil && s.cfg.GitRoot != "" && own == addr {
		return true
	}
	u, err := url.Parse(s.cfg.Repo)
	if err != nil {
		return false
	}
	named, err := netip.ParseAddrPort(u.Host)
	return err == nil && named == addr
}
