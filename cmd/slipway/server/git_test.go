package server

import (
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/statetest"
)

// TestCommitsAreSignedByTheServersKey lets git itself verify a commit.
func TestCommitsAreSignedByTheServersKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@shop.example",
			"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@shop.example")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	key, bare, signers := filepath.Join(dir, "key"), filepath.Join(dir, "config.git"), filepath.Join(dir, "allowed_signers")
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(signers, append([]byte("bot@shop.example "), public...), 0o600); err != nil {
		t.Fatal(err)
	}
	run("git", "init", "-q", "--bare", "-b", "main", bare)
	tree := run("git", "-C", bare, "hash-object", "-t", "tree", "-w", "/dev/null")
	run("git", "-C", bare, "update-ref", "refs/heads/main", run("git", "-C", bare, "commit-tree", "-m", "first", tree))

	c := statetest.New(t)
	s := &server{client: c, log: slog.New(slog.DiscardHandler), cfg: &Config{
		Repo: "file://" + bare, DataDir: filepath.Join(dir, "data"), SigningKey: key, Committer: "Bot <bot@shop.example>", GitSchemes: GitSchemes,
	}}
	t.Cleanup(s.close)
	if err := bootstrap(t.Context(), c, s.cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.openSources(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit, err := s.parts.sources.Commit(t.Context(), api.CommitRequest{
		Repository: types.NamespacedName{Namespace: System, Name: Root}, Message: "Promote", ID: "promote-1",
		Changes: func(fs.FS) (map[string][]byte, error) {
			return map[string][]byte{"images.lock.json": []byte("{}\n")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	git := []string{"-C", bare, "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile=" + signers}
	if out := run("git", append(git, "verify-commit", commit)...); !strings.Contains(out, `Good "git" signature for bot@shop.example`) {
		t.Error(out)
	}
	if out := run("git", append(git, "log", "-1", "--format=%cn <%ce> %GS", "main")...); out != "Bot <bot@shop.example> bot@shop.example" {
		t.Error(out)
	}
}

func TestWhatIsConfiguredOfGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	locked, other := filepath.Join(dir, "locked"), filepath.Join(dir, "other")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(other, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Config{
		"--git-schemes \"ext\"":             {GitSchemes: []string{"https", "ext"}},
		"--committer \"Bot\"":               {Committer: "Bot"},
		"--committer \"b@shop.example\"":    {Committer: "b@shop.example"},
		"it has a passphrase":               {SigningKey: locked},
		"want an SSH private key":           {SigningKey: other},
		"--signing-key: open " + dir + "/x": {SigningKey: dir + "/x"},
	} {
		if _, err := c.git(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("want %s: %v", want, err)
		}
	}
	c := Config{GitSchemes: []string{"https", "git"}}
	if o, err := c.git(); err != nil || strings.Join(o.Schemes, " ") != "https git" || o.SigningKey != nil {
		t.Errorf("%+v, %v", o, err)
	}
}
