package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"slipway.dev/slipway/cmd/slipway/server"
)

// signingKey writes a new SSH key, and answers its file and its line for allowed signers.
func signingKey(t *testing.T, dir string) (file, line string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return file, "ada@example.com " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func settingsMap(name, v string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {v: %q}\n", name, v)
}

// TestGates is a bad afternoon: somebody deletes too much, approves it, breaks the glass,
// and goes back.
func TestGates(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	key, signer := signingKey(t, u.dir)
	files := map[string]string{"cluster/signers.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: override-signers, namespace: slipway}\nstringData:\n  allowed_signers: " + signer + "\n"}
	for i := range 6 {
		files[fmt.Sprintf("projects/pp/c%d.yaml", i)] = settingsMap(fmt.Sprint("c", i), "1")
	}
	repo := newRepository(t, filepath.Join(u.dir, "config"), files)
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	u.says("get application pp -n slipway -o jsonpath={.status.lastAppliedCommit}", repo.git("rev-parse", "HEAD"))
	value := func(name, want string) {
		t.Helper()
		u.says("get configmap "+name+" -n pp -o jsonpath={.data.v}", want)
	}
	value("c0", "1")

	// What is not committed yet.
	edited := filepath.Join(repo.dir, "projects/pp/c0.yaml")
	if err := os.WriteFile(edited, []byte(settingsMap("c0", "2")), 0o644); err != nil {
		t.Fatal(err)
	}
	if res := u.runs("diff", repo.dir); res.code != 1 || !strings.Contains(res.out, `data.v: "1" → "2"`) || !strings.Contains(res.out, "1 to change, 0 to prune") {
		t.Errorf("diff of a working copy: %s", res)
	}
	repo.git("checkout", "-q", "--", ".")
	if res := u.runs("diff", repo.dir); res.code != 0 {
		t.Errorf("diff of nothing: %s", res)
	}

	// Too much is deleted: it waits for an approval of that very plan.
	for i := 1; i < 6; i++ {
		repo.git("rm", "-q", fmt.Sprintf("projects/pp/c%d.yaml", i))
	}
	bad := repo.commit(nil)
	u.hook()
	u.says("get application pp -n slipway -o jsonpath={.status.waiting.reason}", "Brakes")
	if res := u.runs("plan", "pp"); res.code != 1 || !strings.Contains(res.out, "- pp/configmap/c5") || !strings.Contains(res.out, "Slipway-Approve: ") {
		t.Errorf("plan: %s", res)
	}
	value("c5", "1")
	u.says("status", "WAITING", "Brakes", "deletes 5 of 6 objects")
	var waiting server.PlanAnswer
	if err := json.Unmarshal([]byte(u.runs("plan", "pp", "-o", "json").out), &waiting); err != nil || waiting.Waiting == nil || waiting.Waiting.Digest != waiting.Digest {
		t.Errorf("plan -o json: %+v, %v", waiting, err)
	}
	repo.git("commit", "-q", "--allow-empty", "-m", "Approve it", "-m", "Slipway-Approve: "+waiting.Digest[:12])
	u.hook()
	eventually(t, "it is deleted", func() error {
		if res := u.runs("get", "configmap", "c5", "-n", "pp"); res.code == 0 {
			return fmt.Errorf("%s", res)
		}
		return nil
	})
	u.says("get records -n slipway -o yaml", "approvedBy:")
	u.says("plan pp", "nothing to do")
	if res := u.runs("get", "application", "pp", "-n", "slipway", "-o", "jsonpath={.status.orphans}"); res.code != 0 || strings.TrimSpace(res.out) != "" {
		t.Errorf("what every project has is taken for an orphan: %s", res)
	}

	// Break the glass, and close it again.
	words := []string{"override", "configmap/c0", "-n", "pp", "--patch", `{"data":{"v":"9"}}`, "--for", "1h", "--reason", "the shop is on fire", "--owner", "Ada <ada@example.com>", "--key", key}
	res := u.runs(words...)
	if res.code != 0 || !strings.Contains(res.out, "is excepted from git until") {
		t.Fatalf("override: %s", res)
	}
	value("c0", "9")
	u.says("get application pp -n slipway -o jsonpath={.status.overrides}", "the shop is on fire")
	u.says("status", "override: ", "pp/configmap/c0 until ", "the shop is on fire")
	name := strings.Fields(res.out[strings.Index(res.out, "--end "):])[1]
	if res := u.runs("override", "--end", name, "--owner", "Ada <ada@example.com>", "--key", key); res.code != 0 {
		t.Errorf("override --end: %s", res)
	}
	value("c0", "1")
	other, _ := signingKey(t, t.TempDir())
	words[len(words)-1] = other
	if res := u.runs(words...); res.code != 2 || !strings.Contains(res.complaints, "not among the allowed signers") {
		t.Errorf("override by a foreigner: %s", res)
	}

	// Go back, by a branch that is reviewed and merged.
	identity := []string{"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com"}
	res = runs(t, append(u.environment(), identity...), program(t), "rollback", "pp", "--branch", "back", "--reason", "too much")
	if res.code != 0 || !strings.Contains(res.out, "held: commit ") {
		t.Fatalf("rollback: %s", res)
	}
	if res := u.runs("diff", "--ref", "back"); res.code != 1 || !strings.Contains(res.out, "5 to create") {
		t.Errorf("diff --ref: %s", res)
	}
	// The same as a pull request, where the git host keeps it.
	repo.git("update-ref", "refs/pull/7/head", "back")
	if res := u.runs("diff", "--pr", "7"); res.code != 1 || !strings.Contains(res.out, "5 to create") {
		t.Errorf("diff --pr: %s", res)
	}
	if res := u.runs("diff", "--pr", "8"); res.code != 2 {
		t.Errorf("diff of a pull request that is not there: %s", res)
	}
	repo.git("merge", "-q", "--ff-only", "back")
	u.hook()
	value("c5", "1")
	if holds := repo.git("show", "HEAD:projects/pp/.holds.json"); !strings.Contains(holds, "too much") {
		t.Errorf("holds %s after %s", holds, bad)
	}
}
