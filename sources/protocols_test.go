package sources

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
)

// TestReferencesOverEveryProtocol follows each kind of reference over each protocol.
func TestReferencesOverEveryProtocol(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	commits := map[string]string{"first": h.push("first", map[string]string{"f": "first"})}
	tag := func(name, content string) {
		commits[content] = h.push(content, map[string]string{"f": content})
		git(t, h.work, "tag", "-a", name, "-m", name)
	}
	tag("v1.0.0", "one")
	tag("v1.10.0", "ten")
	tag("v1.2.0", "two")
	tag("v1.11.0-rc.1", "candidate")
	tag("v2.0.0-beta.1", "beta")
	tag("not-a-version", "none")
	commits["main"] = h.push("main", map[string]string{"f": "main"})
	git(t, h.work, "push", "--quiet", "origin", "--tags")
	// Commits that no branch and no tag reaches.
	commits["pull"] = commitIn(t, h.work, "pull", map[string]string{"f": "pull"})
	git(t, h.work, "push", "--quiet", "origin", "HEAD:refs/pull/7/head")
	commits["lost"] = commitIn(t, h.work, "lost", map[string]string{"f": "lost"})
	git(t, h.work, "push", "--quiet", "origin", "HEAD:refs/heads/gone")
	git(t, h.bare, "update-ref", "-d", "refs/heads/gone")
	git(t, h.bare, "config", "uploadpack.allowAnySHA1InWant", "true")

	host, _ := newKey(t)
	mine, key := newKey(t)
	addr := sshHost(t, host, mine.PublicKey())
	line := knownhosts.Line([]string{knownhosts.Normalize(addr)}, host.PublicKey()) + "\n"
	secure, ca := secureHost(t, h.root, func(req *http.Request) bool {
		user, password, _ := req.BasicAuth()
		return user == "robot" && password == "s3cret" || req.Header.Get("Authorization") == "Bearer t0ken"
	})
	for protocol, place := range map[string]struct {
		url    string
		secret map[string]string
	}{
		"https, basic":  {secure + "/shop.git", map[string]string{"username": "robot", "password": "s3cret", "ca.crt": ca}},
		"https, bearer": {secure + "/shop.git", map[string]string{"bearerToken": "t0ken", "ca.crt": ca}},
		"ssh":           {"ssh://git@" + addr + h.bare, map[string]string{"identity": string(key), "known_hosts": line}},
		"file":          {"file://" + h.bare, nil},
		"git":           {"git://" + gitDaemon(t, h.root) + "/shop.git", nil},
	} {
		m := newTestMirrors(t, t.TempDir(), Options{FileRoots: []string{h.root}, Schemes: []string{"https", "ssh", "file", "git"}})
		l, err := ParseURL(place.url)
		if err != nil {
			t.Fatal(err)
		}
		creds := CredentialsFrom(secretOf(place.secret))
		creds.trusted = protocol == "file"
		for _, c := range []struct {
			name string
			ref  *v1alpha1.GitRepositoryRef
			want string
		}{
			{"nothing", nil, "main"},
			{"branch", &v1alpha1.GitRepositoryRef{Branch: "main"}, "main"},
			{"tag", &v1alpha1.GitRepositoryRef{Tag: "v1.2.0"}, "two"},
			{"highest", &v1alpha1.GitRepositoryRef{SemVer: ">=1.0.0"}, "ten"},
			{"range", &v1alpha1.GitRepositoryRef{SemVer: "~1.2"}, "two"},
			{"pre-releases", &v1alpha1.GitRepositoryRef{SemVer: ">=1.0.0-0 <2.0.0-0"}, "candidate"},
			{"all pre-releases", &v1alpha1.GitRepositoryRef{SemVer: "*-0"}, "beta"},
			{"commit", &v1alpha1.GitRepositoryRef{Commit: commits["one"]}, "one"},
			{"commit of no branch", &v1alpha1.GitRepositoryRef{Commit: commits["lost"]}, "lost"},
			{"pull request", &v1alpha1.GitRepositoryRef{Name: "refs/pull/7/head"}, "pull"},
			{"commit before name", &v1alpha1.GitRepositoryRef{Commit: commits["one"], Name: "refs/pull/7/head", Branch: "main"}, "one"},
			{"name before semver", &v1alpha1.GitRepositoryRef{Name: "refs/pull/7/head", SemVer: "1.x"}, "pull"},
			{"semver before tag", &v1alpha1.GitRepositoryRef{SemVer: "1.x", Tag: "v1.0.0"}, "ten"},
			{"tag before branch", &v1alpha1.GitRepositoryRef{Tag: "v1.0.0", Branch: "main"}, "one"},
			{"no such branch", &v1alpha1.GitRepositoryRef{Branch: "nope"}, ""},
			{"no such range", &v1alpha1.GitRepositoryRef{SemVer: ">=3"}, ""},
			{"no such commit", &v1alpha1.GitRepositoryRef{Commit: strings.Repeat("1", 40)}, ""},
		} {
			r, err := m.Open(l, protocol)
			if err != nil {
				t.Fatal(err)
			}
			s := New(Deps{Mirrors: m})
			out := s.look(testContext(t), placeAt(r, l, creds, c.ref))
			if c.want == "" {
				if out.err == nil {
					t.Errorf("%s, %s: %+v", protocol, c.name, out.artifact)
				}
				continue
			}
			if out.err != nil || out.artifact.Commit != commits[c.want] {
				t.Errorf("%s, %s: %+v, %v; want %s", protocol, c.name, out.artifact, out.err, c.want)
			}
		}
	}
}

func placeAt(r *Mirror, l Location, c Credentials, ref *v1alpha1.GitRepositoryRef) place {
	repo := &v1alpha1.GitRepository{Spec: v1alpha1.GitRepositorySpec{URL: l.Fetch, Reference: ref}}
	return place{location: l, creds: c, mirror: r, repo: repo}
}

// TestACommitThatTheServerDoesNotGiveByItsHash is reached through its branch.
func TestACommitThatTheServerDoesNotGiveByItsHash(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	git(t, h.bare, "config", "uploadpack.allowReachableSHA1InWant", "false")
	first := h.push("first", map[string]string{"f": "1"})
	h.push("second", map[string]string{"f": "2"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	s := New(Deps{Mirrors: m})
	out := s.look(testContext(t), placeAt(r, l, Credentials{}, &v1alpha1.GitRepositoryRef{Commit: first}))
	if out.err != nil || out.artifact.Commit != first {
		t.Errorf("%+v, %v", out.artifact, out.err)
	}
}

// secureHost serves the repositories below root over TLS to whoever is let in; it
// answers its URL and its authority's certificate.
func secureHost(t *testing.T, root string, letIn func(*http.Request) bool) (url, ca string) {
	t.Helper()
	handler, err := gitserver.New(gitserver.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !letIn(req) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s.URL, certificate(s)
}

func certificate(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// TestTheKnownHostIsTheNameNotTheAddress: a tenant's host is dialled by its checked
// address, and known by its name.
func TestTheKnownHostIsTheNameNotTheAddress(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	host, _ := newKey(t)
	mine, key := newKey(t)
	addr := sshHost(t, host, mine.PublicKey())
	_, port, _ := strings.Cut(addr, ":")
	named := "localhost:" + port
	for _, c := range []struct {
		known string
		key   ssh.PublicKey
		ok    bool
	}{{named, host.PublicKey(), true}, {addr, host.PublicKey(), false}, {named, mine.PublicKey(), false}} {
		for _, trusted := range []bool{true, false} {
			line := knownhosts.Line([]string{knownhosts.Normalize(c.known)}, c.key) + "\n"
			creds := CredentialsFrom(&corev1.Secret{Data: map[string][]byte{"identity": key, "known_hosts": []byte(line)}})
			creds.trusted = trusted
			r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), "ssh://git@"+named+h.bare)
			if err := r.Fetch(testContext(t), l, creds); (err == nil) != c.ok {
				t.Errorf("known %s, trusted %v: %v", c.known, trusted, err)
			}
		}
	}
}

func TestCredentialsAreBoundToSchemeHostAndPort(t *testing.T) {
	t.Parallel()
	// A redirect from https to another port of the same host: another service.
	var sent bytes.Buffer
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(&sent, req.Header.Get("Authorization"))
		http.NotFound(w, req)
	}))
	t.Cleanup(other.Close)
	plain := httptest.NewServer(other.Config.Handler)
	t.Cleanup(plain.Close)
	for _, to := range []string{other.URL, plain.URL} {
		bait := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, to+req.URL.RequestURI(), http.StatusTemporaryRedirect)
		}))
		t.Cleanup(bait.Close)
		for _, secret := range []map[string]string{{"username": "robot", "password": "s3cret"}, {"bearerToken": "s3cret"}} {
			secret["ca.crt"] = certificate(bait)
			r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), bait.URL+"/shop.git")
			if err := r.Fetch(testContext(t), l, CredentialsFrom(secretOf(secret))); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("to %s: %v", to, err)
			}
		}
	}
	if sent.Len() != 0 {
		t.Errorf("credentials were sent on: %q", sent.String())
	}
}
