package sources

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
)

// gitAt is git with a committer's time, and other settings.
func gitAt(t *testing.T, dir string, when time.Time, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	date := fmt.Sprintf("%d +0000", when.Unix())
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org", "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// signWithSSH makes the working copy sign with a key, as git does with ssh-keygen.
func signWithSSH(t *testing.T, work string, key []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, work, "config", "gpg.format", "ssh")
	git(t, work, "config", "user.signingkey", file)
}

func authorized(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func secretOf(data map[string]string) *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}

// verifies says who signed what a reference names; keys is a Secret's content.
func verifies(t *testing.T, r *Mirror, mode v1alpha1.GitVerificationMode, keys map[string]string, ref *v1alpha1.GitRepositoryRef, now time.Time) (string, error) {
	t.Helper()
	ring, err := keyringFrom(secretOf(keys))
	if err != nil {
		t.Fatal(err)
	}
	at, err := resolve(r.current(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return r.verify(&policy{mode, ring}, at, now)
}

func TestVerifySSHSignaturesOfGit(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	mine, key := newKey(t)
	other, _ := newKey(t)
	signWithSSH(t, h.work, key)
	made := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	gitAt(t, h.work, made, nil, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed\n\nwith a body")
	gitAt(t, h.work, made, nil, "tag", "-s", "v1.0.0", "-m", "one")
	gitAt(t, h.work, made, nil, "tag", "light")
	gitAt(t, h.work, made, nil, "tag", "-a", "bare", "-m", "annotated, not signed")
	git(t, h.work, "push", "--quiet", "origin", "HEAD", "--tags")
	git(t, h.work, "branch", "unsigned")
	git(t, h.work, "checkout", "--quiet", "unsigned")
	gitAt(t, h.work, made, nil, "commit", "--quiet", "--allow-empty", "-m", "unsigned")
	gitAt(t, h.work, made, nil, "tag", "-s", "v2.0.0", "-m", "two")
	git(t, h.work, "push", "--quiet", "origin", "HEAD", "--tags")
	// A good tag under another name, as a server that brings an old version back serves it.
	git(t, h.bare, "update-ref", "refs/tags/v9.0.0", git(t, h.bare, "rev-parse", "refs/tags/v1.0.0"))
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	fetchTest(t, r, l)

	main, tag := &v1alpha1.GitRepositoryRef{Branch: "main"}, func(name string) *v1alpha1.GitRepositoryRef { return &v1alpha1.GitRepositoryRef{Tag: name} }
	line := "ada@example.org " + authorized(mine.PublicKey()) + " comment\n"
	allowed := func(line string) map[string]string { return map[string]string{"allowed_signers": line} }
	with := func(options string) map[string]string {
		return allowed("# team\n\nada@example.org,eve@* " + options + " " + authorized(mine.PublicKey()) + "\n")
	}
	commit := git(t, h.bare, "rev-parse", "main")
	head, onTag, both := v1alpha1.VerifyHEAD, v1alpha1.VerifyTag, v1alpha1.VerifyTagAndHEAD
	for _, c := range []struct {
		name string
		mode v1alpha1.GitVerificationMode
		keys map[string]string
		ref  *v1alpha1.GitRepositoryRef
		want string // part of the signer, or of the error after a "!"
	}{
		{"commit", head, allowed(line), main, "ada@example.org (SHA256:"},
		{"default mode", "", allowed(line), main, "ada@example.org"},
		{"by tag", head, allowed(line), tag("v1.0.0"), "ada@example.org"},
		{"second line", head, allowed("bob " + authorized(other.PublicKey()) + "\n" + line), main, "ada@example.org"},
		{"a .pub key", head, map[string]string{"ada.pub": authorized(mine.PublicKey()) + " ada@laptop"}, main, "ada@laptop"},
		{"a .pub key without comment", head, map[string]string{"ada.pub": authorized(mine.PublicKey())}, main, "ada ("},
		{"a prefixed file", head, map[string]string{"team.allowed_signers": line}, main, "ada@example.org"},
		{"another key", head, allowed("bob " + authorized(other.PublicKey())), main, "!not among the allowed signers"},
		{"unsigned", head, allowed(line), &v1alpha1.GitRepositoryRef{Branch: "unsigned"}, "!it is not signed"},
		{"namespaces", head, with(`namespaces="file,git"`), main, "ada@example.org"},
		{"namespace pattern", head, with(`namespaces="g*"`), main, "ada@example.org"},
		{"wrong namespace", head, with(`namespaces="file"`), main, `!namespace "git"`},
		{"refused namespace", head, with(`namespaces="*,!git"`), main, `!namespace "git"`},
		{"valid then and now", head, with(`valid-after="20250101",valid-before="20350101Z"`), main, "ada@example.org"},
		{"not valid yet then", head, with(`valid-after="20250701"`), main, "!valid only after"},
		{"expired then", head, with(`valid-before="202505010000Z"`), main, "!has expired"},
		{"expired since", head, with(`valid-before="20250901"`), main, "!has expired"},
		{"an authority's own key", head, with("cert-authority"), main, "!not among"},
		{"tag", onTag, allowed(line), tag("v1.0.0"), "ada@example.org"},
		{"tag by its full name", onTag, allowed(line), &v1alpha1.GitRepositoryRef{Name: "refs/tags/v1.0.0"}, "ada@example.org"},
		{"tag by range", onTag, allowed(line), &v1alpha1.GitRepositoryRef{SemVer: "~1"}, "ada@example.org"},
		{"tag of an unsigned commit", onTag, allowed(line), tag("v2.0.0"), "ada@example.org"},
		{"commit that a good tag names", onTag, allowed(line), &v1alpha1.GitRepositoryRef{Commit: commit}, "ada@example.org"},
		{"lightweight tag", onTag, allowed(line), tag("light"), "!lightweight"},
		{"annotated tag", onTag, allowed(line), tag("bare"), "!it is not signed"},
		{"tag under another name", onTag, allowed(line), tag("v9.0.0"), `!"v1.0.0"`},
		{"tag by another", onTag, allowed("bob " + authorized(other.PublicKey())), tag("v1.0.0"), "!not among"},
		{"both", both, allowed(line), tag("v1.0.0"), "ada@example.org"},
		{"both, unsigned commit", both, allowed(line), tag("v2.0.0"), "!it is not signed"},
		{"both, lightweight tag", both, allowed(line), tag("light"), "!lightweight"},
	} {
		who, err := verifies(t, r, c.mode, c.keys, c.ref, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
		if part, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, %v; want an error with %q", c.name, who, err, part)
			}
		} else if err != nil || !strings.Contains(who, c.want) {
			t.Errorf("%s: %q, %v", c.name, who, err)
		}
	}
	// What has been in force before is judged as of its own time.
	if _, err := verifies(t, r, head, with(`valid-before="20250901"`), main, time.Time{}); err != nil {
		t.Error(err)
	}
}

func TestVerifySSHCertificates(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	dir := t.TempDir()
	keygen := func(args ...string) {
		t.Helper()
		cmd := exec.Command("ssh-keygen", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
		}
	}
	for _, name := range []string{"ca", "ada"} {
		keygen("-q", "-t", "ed25519", "-N", "", "-f", name)
	}
	keygen("-q", "-s", "ca", "-I", "ada", "-n", "ada@example.org", "-V", "20250101:20260101", "ada.pub")
	git(t, h.work, "config", "gpg.format", "ssh")
	git(t, h.work, "config", "user.signingkey", filepath.Join(dir, "ada-cert.pub"))
	gitAt(t, h.work, time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC), nil, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed")
	git(t, h.work, "push", "--quiet", "origin", "HEAD")
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	fetchTest(t, r, l)
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pub"))
	if err != nil {
		t.Fatal(err)
	}
	in2025, later := time.Date(2025, 8, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		line string
		now  time.Time
		ok   bool
	}{
		{"*@example.org cert-authority " + string(ca), in2025, true},
		{"*@example.com cert-authority " + string(ca), in2025, false},
		{"*@example.org " + string(ca), in2025, false},
		{"*@example.org cert-authority " + string(ca), later, false},
		{"*@example.org cert-authority " + string(ca), time.Time{}, true},
	} {
		who, err := verifies(t, r, v1alpha1.VerifyHEAD, map[string]string{"allowed_signers": c.line}, nil, c.now)
		if (err == nil) != c.ok || c.ok && !strings.HasPrefix(who, "ada@example.org") {
			t.Errorf("%s at %s: %q, %v", c.line, c.now, who, err)
		}
	}
}

// crafted stores a commit with this signature header at the server, and fetches it as a branch.
func crafted(t *testing.T, h *gitHost, r *Mirror, l Location, branch string, when time.Time, sign func(payload []byte) string) {
	t.Helper()
	tree := git(t, h.bare, "write-tree")
	payload := fmt.Sprintf("tree %s\nauthor Ada <ada@example.org> %d +0000\ncommitter Ada <ada@example.org> %d +0000\n\ncrafted %s\n", tree, when.Unix(), when.Unix(), branch)
	signature := sign([]byte(payload))
	head, body, _ := strings.Cut(payload, "\n\n")
	raw := head + "\n" + signature + "\n" + body
	cmd := exec.Command("git", "-C", h.bare, "hash-object", "-t", "commit", "-w", "--stdin")
	cmd.Stdin = strings.NewReader(raw)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, raw)
	}
	git(t, h.bare, "update-ref", "refs/heads/"+branch, strings.TrimSpace(string(out)))
	fetchTest(t, r, l)
}

func header(name, armored string) string {
	return name + " " + strings.ReplaceAll(strings.TrimSpace(armored), "\n", "\n ") + "\n"
}

func armoredSSH(t *testing.T, key ssh.Signer, payload []byte, namespace string) string {
	t.Helper()
	sig, err := sshsig.Sign(bytes.NewReader(payload), key, sshsig.HashSHA256, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return string(sshsig.Armor(sig))
}

func TestVerifyRefusesCraftedSignatures(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	mine, _ := newKey(t)
	other, _ := newKey(t)
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	keys := map[string]string{"me.pub": authorized(mine.PublicKey())}
	good := func(p []byte) string { return header("gpgsig", armoredSSH(t, mine, p, "git")) }
	stolen := ""
	for _, c := range []struct {
		name string
		sign func(payload []byte) string
		ok   bool
	}{
		{"good", func(p []byte) string { stolen = good(p); return stolen }, true},
		{"of-another-commit", func([]byte) string { return stolen }, false},
		{"wrong-namespace", func(p []byte) string { return header("gpgsig", armoredSSH(t, mine, p, "file")) }, false},
		{"two", func(p []byte) string { return header("gpgsig", armoredSSH(t, other, p, "git")) + good(p) }, false},
		{"garbage", func([]byte) string {
			return header("gpgsig", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----")
		}, false},
		{"x509", func([]byte) string {
			return header("gpgsig", "-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----")
		}, false},
		{"empty", func([]byte) string { return "gpgsig \n" }, false},
		{"in-another-header", func(p []byte) string { return header("gpgsig-sha256", armoredSSH(t, mine, p, "git")) }, false},
		{"key-swapped", func(p []byte) string {
			sig, err := sshsig.Sign(bytes.NewReader(p), other, sshsig.HashSHA256, "git")
			if err != nil {
				t.Fatal(err)
			}
			sig.PublicKey = mine.PublicKey()
			return header("gpgsig", string(sshsig.Armor(sig)))
		}, false},
	} {
		crafted(t, h, r, l, c.name, time.Now(), c.sign)
		who, err := verifies(t, r, v1alpha1.VerifyHEAD, keys, &v1alpha1.GitRepositoryRef{Branch: c.name}, time.Now())
		if (err == nil) != c.ok {
			t.Errorf("%s: %q, %v", c.name, who, err)
		}
	}
}

// pgpKey is an OpenPGP key that was made then and lives for so long (0: for ever).
func pgpKey(t *testing.T, name string, made time.Time, lives time.Duration) *openpgp.Entity {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return made }, Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: uint32(lives.Seconds()), Rand: rand.Reader}
	e, err := openpgp.NewEntity(name, "", strings.ToLower(name)+"@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func armoredKey(t *testing.T, entities ...*openpgp.Entity) string {
	t.Helper()
	all := ""
	for _, e := range entities {
		var b bytes.Buffer
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err == nil {
			err = e.Serialize(w)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		all += b.String() + "\n"
	}
	return all
}

func TestVerifyOpenPGP(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	now := time.Now()
	made, then := now.Add(-1000*time.Hour), now.Add(-500*time.Hour)
	by := func(e *openpgp.Entity, when time.Time) func([]byte) string {
		return func(p []byte) string {
			var b bytes.Buffer
			if err := openpgp.ArmoredDetachSign(&b, e, bytes.NewReader(p), &packet.Config{Time: func() time.Time { return when }}); err != nil {
				t.Fatal(err)
			}
			return header("gpgsig", b.String())
		}
	}
	ada, bob := pgpKey(t, "Ada", made, 0), pgpKey(t, "Bob", made, 0)
	short := pgpKey(t, "Short", made, 700*time.Hour)
	revoked := pgpKey(t, "Revoked", made, 0)
	signedByRevoked := by(revoked, then)
	crafted(t, h, r, l, "revoked", then, signedByRevoked)
	if err := revoked.RevokeKey(packet.KeyCompromised, "lost", &packet.Config{Time: func() time.Time { return now.Add(-time.Hour) }}); err != nil {
		t.Fatal(err)
	}
	crafted(t, h, r, l, "ada", then, by(ada, then))
	crafted(t, h, r, l, "expired", then, by(short, then))
	var stolen string
	crafted(t, h, r, l, "original", then, func(p []byte) string { stolen = by(ada, then)(p); return stolen })
	crafted(t, h, r, l, "stolen", then, func([]byte) string { return stolen })
	crafted(t, h, r, l, "garbage", then, func([]byte) string {
		return header("gpgsig", "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----")
	})
	crafted(t, h, r, l, "ahead", now, by(ada, now.Add(time.Minute)))
	all := map[string]string{"ada.asc": armoredKey(t, ada), "others": armoredKey(t, short), "revoked": armoredKey(t, revoked)}
	for _, c := range []struct {
		branch string
		keys   map[string]string
		now    time.Time
		want   string
	}{
		{"ada", all, now, "Ada <ada@example.org> ("},
		{"ada", map[string]string{"bob": armoredKey(t, bob)}, now, "!not among the OpenPGP keys"},
		{"ada", map[string]string{"x.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg"}, now, "!not among"},
		{"expired", all, now, "!expired"},
		{"expired", all, time.Time{}, "Short <short@example.org>"},
		{"revoked", all, now, "!revoked"},
		{"revoked", all, time.Time{}, "!revoked"},
		{"stolen", all, now, "!OpenPGP signature"},
		{"garbage", all, now, "!OpenPGP signature"},
		{"ahead", all, now, "Ada"},
	} {
		who, err := verifies(t, r, v1alpha1.VerifyHEAD, c.keys, &v1alpha1.GitRepositoryRef{Branch: c.branch}, c.now)
		if part, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, %v; want an error with %q", c.branch, who, err, part)
			}
		} else if err != nil || !strings.Contains(who, c.want) {
			t.Errorf("%s: %q, %v", c.branch, who, err)
		}
	}
}

func TestVerifyOpenPGPSignaturesOfGit(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	home, err := os.MkdirTemp("", "gpg") // short: its sockets have a bounded path
	if err != nil {
		t.Fatal(err)
	}
	gpg := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...).Output()
		if err != nil {
			t.Fatalf("gpg %v: %v", args, err)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("gpgconf", "--homedir", home, "--kill", "all").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	gpg("--quick-gen-key", "Ada <ada@example.org>", "ed25519", "sign", "never")
	env := []string{"GNUPGHOME=" + home}
	git(t, h.work, "config", "user.signingkey", "ada@example.org")
	gitAt(t, h.work, time.Now(), env, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed")
	gitAt(t, h.work, time.Now(), env, "tag", "-s", "v1.0.0", "-m", "one")
	git(t, h.work, "push", "--quiet", "origin", "HEAD", "--tags")
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	fetchTest(t, r, l)
	keys := map[string]string{"ada.asc": gpg("--armor", "--export", "ada@example.org")}
	who, err := verifies(t, r, v1alpha1.VerifyTagAndHEAD, keys, &v1alpha1.GitRepositoryRef{Tag: "v1.0.0"}, time.Now())
	if err != nil || !strings.HasPrefix(who, "Ada <ada@example.org> (") {
		t.Errorf("%q, %v", who, err)
	}
}

func TestKeyringsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	mine, private := newKey(t)
	line := authorized(mine.PublicKey())
	for want, data := range map[string]map[string]string{
		"no public key":                {},
		`key "x": no armored`:          {"x": "hello"},
		`key "a.pub": not one`:         {"a.pub": "hello"},
		`key "b.pub": not one`:         {"b.pub": line + "\n" + line},
		`key "key.pub": not one`:       {"key.pub": string(private)},
		`line 2: no public key`:        {"allowed_signers": "# x\nada ssh-ed25519 AAAA\n"},
		"line 1: principals and a key": {"allowed_signers": "ada"},
		`option "nope"`:                {"allowed_signers": "ada nope " + line},
		"is not a time":                {"allowed_signers": `ada valid-before="tomorrow" ` + line},
		"20301399":                     {"allowed_signers": `ada valid-before="20301399" ` + line},
		"is not before":                {"allowed_signers": `ada valid-after="20300101",valid-before="20290101" ` + line},
		"quote is not closed":          {"allowed_signers": `"ada ` + line},
		"bytes":                        {"big.pub": strings.Repeat("x", maxKeyring+1)},
		`key "c": no armored`:          {"c": string(pem.EncodeToMemory(&pem.Block{Type: "PGP PUBLIC KEY BLOCK", Bytes: []byte("x")}))},
	} {
		if _, err := keyringFrom(secretOf(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", data, err, want)
		}
	}
}

func FuzzAllowedSigners(f *testing.F) {
	f.Add("ada@example.org,b* namespaces=\"git\",valid-after=\"20250101\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg c")
	f.Add("\"a b\" cert-authority ssh-ed25519 AAAA")
	f.Add("!a,* =,= \"")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseAllowedSigners(text)
		if err != nil {
			return
		}
		for _, s := range all {
			if s.key == nil || s.principals == "" {
				t.Errorf("%q: %+v", text, s)
			}
			_ = s.allows(sshNamespace, time.Unix(0, 0))
			_, _, _ = s.is(s.key, time.Unix(0, 0))
		}
	})
}

func FuzzSplitSignedObjects(f *testing.F) {
	f.Add([]byte("tree x\ngpgsig -----BEGIN SSH SIGNATURE-----\n a\n b\ncommitter A <a> 1 +0000\n\nmessage\ngpgsig no\n"))
	f.Add([]byte("object x\ntype commit\ntag v1\ntagger A <a> 1 +0000\n\nm\n-----BEGIN PGP SIGNATURE-----\nx\n"))
	f.Add([]byte(" x\ngpgsig"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		payload, signature, err := splitCommit(raw)
		if err == nil && len(payload)+len(signature) > len(raw)+len("\n") {
			t.Errorf("%q grew", raw)
		}
		payload, signature = splitTag(raw)
		if string(payload)+signature != string(raw) {
			t.Errorf("%q lost something", raw)
		}
		for _, kind := range []plumbing.ObjectType{plumbing.CommitObject, plumbing.TagObject} {
			s := signedObject{payload: payload}
			_ = s.read(kind)
		}
	})
}
