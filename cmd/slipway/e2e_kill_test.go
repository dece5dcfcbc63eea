package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kill ends the server as a power failure does.
func (u *upped) kill() {
	u.t.Helper()
	if err := u.cmd.Process.Kill(); err != nil {
		u.t.Fatal(err)
	}
	<-u.ended
}

// credentials are a template whose two objects hold one generated value.
func credentials(name string) string {
	return fmt.Sprintf(`apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: %[1]s}
spec:
  template:
    parameters: [{name: PASSWORD, generate: expression, from: '[a-z]{24}'}]
    objects:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: %[1]s-one}, data: {password: "${PASSWORD}"}}
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: %[1]s-two}, data: {password: "${PASSWORD}"}}
`, name)
}

// TestKilled kills the server at any moment of following a commit, again and again. Each
// time the next one comes to the same end: every object as git has it, what left git gone,
// no generated value made twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	const objects = 40
	files := func(round int) map[string]string {
		all := map[string]string{fmt.Sprintf("projects/pp/only%d.yaml", round): settingsMap(fmt.Sprint("only", round), "1")}
		for i := range objects {
			all[fmt.Sprintf("projects/pp/c%d.yaml", i)] = settingsMap(fmt.Sprint("c", i), fmt.Sprint(round))
		}
		all[fmt.Sprintf("projects/pp/t%d.yaml", round)] = credentials(fmt.Sprint("t", round))
		return all
	}
	repo := newRepository(t, filepath.Join(u.dir, "config"), files(0))
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	made := map[string]string{}
	for round := 1; round <= 6; round++ {
		u.says("get application pp -n slipway -o jsonpath={.status.lastAppliedCommit}", repo.git("rev-parse", "HEAD"))
		repo.git("rm", "-q", fmt.Sprintf("projects/pp/only%d.yaml", round-1))
		head := repo.commit(files(round))
		u.hook()
		time.Sleep(rand.N(250 * time.Millisecond))
		u.kill()
		u.start()
		u.says("get application pp -n slipway -o jsonpath={.status.lastAppliedCommit}", head)
		u.converged(t, round, objects, made)
	}
	u.says("history pp", "Applied")
}

// converged checks what is live after a round.
func (u *upped) converged(t *testing.T, round, objects int, made map[string]string) {
	t.Helper()
	values := map[string]string{}
	for line := range strings.Lines(u.says(`get configmaps -n pp -o jsonpath={range.items[*]}{.metadata.name}={.data.v}{.data.password}{"\n"}{end}`)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	for i := range objects {
		if got := values[fmt.Sprint("c", i)]; got != fmt.Sprint(round) {
			t.Errorf("round %d: c%d is %q", round, i, got)
		}
	}
	if _, there := values[fmt.Sprint("only", round-1)]; there {
		t.Errorf("round %d: what left git is still live", round)
	}
	for i := range round + 1 {
		one, two := values[fmt.Sprintf("t%d-one", i)], values[fmt.Sprintf("t%d-two", i)]
		if len(one) != 24 || one != two || made[fmt.Sprint(i)] != "" && made[fmt.Sprint(i)] != one {
			t.Errorf("round %d: t%d has %q and %q, and had %q", round, i, one, two, made[fmt.Sprint(i)])
		}
		made[fmt.Sprint(i)] = one
	}
}
