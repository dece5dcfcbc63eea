package reconciler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
)

// clock is the time, which tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func (r *repository) message(commit string) string {
	for _, c := range r.log {
		if c.Hash == commit {
			return c.Message
		}
	}
	return ""
}

// History is the part of the log between two commits.
func (r *repository) History(_ context.Context, _ types.NamespacedName, from, to string, limit int) ([]api.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []api.Commit
	for _, c := range slices.Backward(r.log) {
		if c.Hash == from {
			break
		}
		if len(out) > 0 || c.Hash == to {
			out = append(out, api.Commit{Hash: c.Hash, Message: c.Message, Author: "Ada <ada@example.com>"})
		}
	}
	return out[:min(len(out), limit)], nil
}

// hash is a whole commit hash of one digit.
func hash(digit string) string { return strings.Repeat(digit, 40) }

// say pushes a commit with a message.
func (w *world) say(commit, message string, files map[string]string) {
	w.Helper()
	w.repo.commit(commit, files)
	w.repo.mu.Lock()
	w.repo.log[len(w.repo.log)-1].Message = message
	w.repo.mu.Unlock()
	w.tell(commit)
}

// waits waits until a plan of an application waits for a reason.
func (w *world) waits(app, commit, reason string) *v1alpha1.WaitingPlan {
	w.Helper()
	var waiting *v1alpha1.WaitingPlan
	w.eventually(app+" waits with "+commit+" for "+reason, func() error {
		s := w.application(app).Status
		if s.Waiting == nil || s.Waiting.Commit != commit || s.Waiting.Reason != reason {
			return fmt.Errorf("status %+v, waiting %+v", s, s.Waiting)
		}
		waiting = s.Waiting
		return nil
	})
	return waiting
}

// approve waits for the brakes and pushes a commit that approves the plan.
func (w *world) approve(app, commit string, files map[string]string) {
	w.Helper()
	var digest string
	w.eventually(app+" waits for an approval", func() error {
		s := w.application(app).Status
		if s.Waiting == nil || s.Waiting.Reason != reconciler.WaitBrakes {
			return fmt.Errorf("status %+v", s)
		}
		digest = s.Waiting.Digest
		return nil
	})
	w.say(commit, "Approve it\n\nSlipway-Approve: "+digest[:12], files)
}

func configs(n int, v string) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("projects/pp/c%d.yaml", i)] = config(fmt.Sprint("c", i), v)
	}
	return files
}

func TestBrakesWaitForAnApproval(t *testing.T) {
	w := newWorld(t, configs(10, "1"))
	w.applied("pp", "c1")
	w.push("c2", configs(4, "2"))
	waiting := w.waits("pp", "c2", reconciler.WaitBrakes)
	for _, want := range []string{"deletes 6 of 10 objects (60 %)", "slipway plan pp", "Slipway-Approve: " + waiting.Digest[:16]} {
		if !strings.Contains(waiting.Message, want) {
			t.Errorf("the message does not say %q:\n%s", want, waiting.Message)
		}
	}
	ready := meta.FindStatusCondition(w.application("pp").Status.Conditions, reconciler.Ready)
	if ready.Status != metav1.ConditionFalse || ready.Reason != reconciler.ReasonBrakes {
		t.Errorf("ready %+v", ready)
	}

	// All or nothing: what the plan changes waits, too; and what is live is kept as it was.
	w.configIs("pp", "c0", "1")
	w.configIs("pp", "c9", "1")
	cm, err := w.config("pp", "c9")
	w.must(err)
	cm.Data["v"] = "by hand"
	w.must(w.client.Update(t.Context(), cm))
	w.configIs("pp", "c9", "1")
	w.must(w.client.Delete(t.Context(), cm))
	w.configIs("pp", "c9", "1")

	// Approvals of other plans, or too short ones, change nothing.
	w.say("c3", "No\n\nSlipway-Approve: "+strings.Repeat("0", 12)+"\nSlipway-Approve: "+waiting.Digest[:11], configs(4, "2"))
	if again := w.waits("pp", "c3", reconciler.WaitBrakes); again.Digest != waiting.Digest {
		t.Errorf("the same plan has the digests %s and %s", waiting.Digest, again.Digest)
	}

	// A plan that changed needs an approval of its own: the commit approves what was before.
	w.say("c4", "Approve\n\nSlipway-Approve: "+waiting.Digest, configs(3, "2"))
	again := w.waits("pp", "c4", reconciler.WaitBrakes)
	w.configIs("pp", "c3", "1")

	// The approval may be on a commit that is not the newest, such as a merged one.
	w.repo.commit("c5", configs(3, "2"))
	w.repo.mu.Lock()
	w.repo.log[len(w.repo.log)-1].Message = "Approve\n\nslipway-approve: " + again.Digest[:12]
	w.repo.mu.Unlock()
	w.say("c6", "Merge", configs(3, "2"))
	w.applied("pp", "c6")
	w.gone("pp", "c9")
	w.configIs("pp", "c0", "2")
	w.eventually("the record says who approved", func() error {
		var records v1alpha1.RecordList
		if err := w.client.List(t.Context(), &records, client.InNamespace("slipway")); err != nil {
			return err
		}
		for _, r := range records.Items {
			if r.Spec.Application == "pp" && r.Spec.Commit == "c6" && r.Spec.ApprovedBy == "Ada <ada@example.com>" {
				return nil
			}
		}
		return fmt.Errorf("among %d records", len(records.Items))
	})
	if s := w.application("pp").Status; s.Waiting != nil || !meta.IsStatusConditionTrue(s.Conditions, reconciler.Ready) {
		t.Errorf("afterwards: %+v", s)
	}
}

func TestBrakesCanBeDisabled(t *testing.T) {
	all := func(n int) map[string]string {
		files := map[string]string{"project.yaml": "apiVersion: project.openshift.io/v1\nkind: Project\nmetadata: {name: pp}\n"}
		for i := range n {
			files[fmt.Sprintf("c%d.yaml", i)] = strings.Replace(config(fmt.Sprint("c", i), "1"), "metadata:", "metadata:\n  namespace: pp", 1)
		}
		return files
	}
	w := newWorld(t, all(10), func(a *v1alpha1.Application) { a.Spec.Brakes = &v1alpha1.Brakes{Disabled: true} })
	w.applied("root", "c1")
	w.push("c2", all(1))
	w.applied("root", "c2")
	w.gone("pp", "c9")
}

func TestAProjectAlwaysWaits(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/pp/a.yaml": config("a", "1"), "projects/qq/a.yaml": config("a", "1")})
	w.applied("pp", "c1")
	w.applied("qq", "c1")
	left := map[string]string{"projects/qq/a.yaml": config("a", "1")}
	w.push("c2", left)
	if waiting := w.waits("root", "c2", reconciler.WaitBrakes); !strings.Contains(waiting.Message, "deletes project/pp") {
		t.Errorf("it says %s", waiting.Message)
	}
	w.configIs("pp", "a", "1")
	// Putting the folder back takes the plan away.
	w.push("c3", map[string]string{"projects/pp/a.yaml": config("a", "1"), "projects/qq/a.yaml": config("a", "1")})
	w.applied("root", "c3")
	w.eventually("nothing waits", func() error {
		if waiting := w.application("root").Status.Waiting; waiting != nil {
			return fmt.Errorf("%+v", waiting)
		}
		return nil
	})
	w.push("c4", left)
	w.approve("root", "c5", left)
	w.gone("pp", "a")
	w.configIs("qq", "a", "1")
}

const declaration = `apiVersion: slipway.dev/v1alpha1
kind: Application
metadata: {name: %s, namespace: slipway}
spec: {path: %s, project: pp}
`

// TestAnApplicationsObjectsCountWhenItGoes: five objects go with a single Application.
func TestAnApplicationsObjectsCountWhenItGoes(t *testing.T) {
	files := map[string]string{"cluster/app.yaml": fmt.Sprintf(declaration, "many", "many"), "cluster/few.yaml": fmt.Sprintf(declaration, "few", "few")}
	for i := range 5 {
		files[fmt.Sprintf("many/m%d.yaml", i)] = config(fmt.Sprint("m", i), "1")
	}
	files["few/f.yaml"] = config("f", "1")
	w := newWorld(t, files)
	w.applied("many", "c1")
	w.applied("few", "c1")
	delete(files, "cluster/few.yaml")
	w.push("c2", files)
	w.applied("root", "c2")
	w.gone("pp", "f")

	delete(files, "cluster/app.yaml")
	files["cluster/other.yaml"] = strings.Replace(config("other", "1"), "metadata:", "metadata:\n  namespace: pp", 1)
	w.push("c3", files)
	if waiting := w.waits("root", "c3", reconciler.WaitBrakes); !strings.Contains(waiting.Message, "deletes application many, which deletes 5 of 5") {
		t.Errorf("it says %s", waiting.Message)
	}
	w.configIs("pp", "m0", "1")
	w.approve("root", "c4", files)
	w.gone("pp", "m0")
	w.configIs("pp", "other", "1")
}

// TestAnApplicationDeletedByHandComesBack: while git declares it, its objects stay.
func TestAnApplicationDeletedByHandComesBack(t *testing.T) {
	w := newWorld(t, configs(5, "1"))
	w.applied("pp", "c1")
	before, err := w.config("pp", "c0")
	w.must(err)
	old := w.application("pp").UID
	w.must(w.client.Delete(t.Context(), w.application("pp")))
	w.eventually("it is made anew", func() error {
		if app := w.application("pp"); app.UID == "" || app.UID == old || app.Status.LastAppliedCommit != "c1" {
			return fmt.Errorf("uid %q, status %+v", app.UID, app.Status)
		}
		return nil
	})
	after, err := w.config("pp", "c0")
	w.must(err)
	if before.UID != after.UID {
		t.Error("its objects were made anew")
	}
	w.push("c2", configs(5, "2"))
	w.applied("pp", "c2")
	w.configIs("pp", "c0", "2")
}

// TestDeletingTheRootByHandIsBraked: nobody declares it, and everything hangs from it.
func TestDeletingTheRootByHandIsBraked(t *testing.T) {
	files := map[string]string{}
	for i := range 5 {
		files[fmt.Sprintf("c%d.yaml", i)] = strings.Replace(config(fmt.Sprint("c", i), "1"), "metadata:", "metadata:\n  namespace: pp", 1)
	}
	w := newWorld(t, files)
	w.applied("root", "c1")
	w.must(w.client.Delete(t.Context(), w.application("root")))
	if waiting := w.waits("root", "c1", reconciler.WaitBrakes); !strings.Contains(waiting.Message, "deletion deletes 5 of 5") {
		t.Errorf("it says %s", waiting.Message)
	}
	w.configIs("pp", "c0", "1")
	w.approve("root", "c2", files)
	w.gone("pp", "c0")
}

func TestRestartsCount(t *testing.T) {
	files := func(env string) map[string]string {
		out := map[string]string{}
		for i := range 5 {
			out[fmt.Sprintf("projects/pp/d%d.yaml", i)] = fmt.Sprintf(`apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: d%d}
spec:
  replicas: %d
  selector: {app: d%d}
  triggers: [{type: ConfigChange}]
  template:
    metadata: {labels: {app: d%d}}
    spec: {containers: [{name: c, image: "example.com/i@sha256:%s", env: [{name: V, value: %q}]}]}
`, i, i, i, i, digest, env)
		}
		return out
	}
	w := newWorld(t, files("1"))
	w.applied("pp", "c1")
	w.push("c2", files("2"))
	// The first has no pods.
	if waiting := w.waits("pp", "c2", reconciler.WaitBrakes); !strings.Contains(waiting.Message, "restarts 4 of 5 objects (80 %)") {
		t.Errorf("it says %s", waiting.Message)
	}
	some := files("1")
	maps := files("2")
	for _, name := range []string{"projects/pp/d1.yaml", "projects/pp/d2.yaml", "projects/pp/d3.yaml"} {
		some[name] = maps[name]
	}
	w.push("c3", some)
	w.applied("pp", "c3")
}

// windowed adds to an application's declaration in cluster/.
func windowed(spec string) string {
	return fmt.Sprintf(`{"apiVersion": "slipway.dev/v1alpha1", "kind": "Application", "metadata": {"name": "pp", "namespace": "slipway"},
		"spec": {"path": "pp", "project": "pp", "brakes": {"disabled": true}, %s}}`, spec)
}

func TestWindowsWaitAndOpenByTheClock(t *testing.T) {
	w := newWorld(t, nil)
	now := w.clock.now().UTC()
	// Open now, for at least an hour; then closed until tomorrow.
	w.say(hash("1"), "", map[string]string{"pp/a.yaml": config("a", "1"),
		"cluster/app.yaml": windowed(fmt.Sprintf(`"windows": [{"kind": "Allow", "schedule": "%d %d * * *", "duration": "2h"}]`, now.Minute(), now.Hour()))})
	w.applied("pp", hash("1"))
	declared := windowed(fmt.Sprintf(`"windows": [{"kind": "Allow", "schedule": "%d %d * * *", "duration": "2h"}]`, now.Minute(), now.Hour()))
	w.clock.forward(3 * time.Hour)
	files := func(v string) map[string]string {
		return map[string]string{"pp/a.yaml": config("a", v), "cluster/app.yaml": declared}
	}
	w.push(hash("2"), files("2"))
	waiting := w.waits("pp", hash("2"), reconciler.WaitWindow)
	opens := now.Truncate(time.Minute).Add(24 * time.Hour)
	if waiting.Until == nil || !waiting.Until.Time.Equal(opens) {
		t.Errorf("until %v, want %s: %s", waiting.Until, opens, waiting.Message)
	}
	if !meta.IsStatusConditionTrue(w.application("pp").Status.Conditions, reconciler.Ready) {
		t.Errorf("what is live is not ready: %+v", w.application("pp").Status.Conditions)
	}

	// Drift is repaired at any time.
	cm, err := w.config("pp", "a")
	w.must(err)
	cm.Data["v"] = "by hand"
	w.must(w.client.Update(t.Context(), cm))
	w.configIs("pp", "a", "1")

	// A rollback passes: to where the application was applied before, and to nothing else.
	w.say(hash("3"), "Roll back?\n\nSlipway-Rollback: "+hash("2")+".."+hash("1"), files("3"))
	w.waits("pp", hash("3"), reconciler.WaitWindow)
	w.say(hash("4"), "Roll back?\n\nSlipway-Rollback: "+hash("3")+".."+hash("2"), files("2"))
	w.waits("pp", hash("4"), reconciler.WaitWindow)
	w.configIs("pp", "a", "1")

	// The clock opens it; nobody pushes.
	w.clock.forward(opens.Sub(w.clock.now()) - 2*time.Second)
	w.touch("pp")
	w.applied("pp", hash("4"))
	w.configIs("pp", "a", "2")
}

// touch wakes an application, which then asks the clock that the test moved.
func (w *world) touch(app string) {
	w.Helper()
	w.eventually("it is touched", func() error {
		a := w.application(app)
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "example.com/touched", fmt.Sprint(time.Now().UnixNano()))
		return w.client.Update(w.Context(), a)
	})
}

func TestRollbacksPassWindows(t *testing.T) {
	w := newWorld(t, nil)
	open := windowed(`"windows": []`)
	closed := windowed(`"windows": [{"kind": "Deny", "schedule": "* * * * *", "duration": "1h"}]`)
	w.say(hash("1"), "", map[string]string{"pp/a.yaml": config("a", "1"), "cluster/app.yaml": open})
	w.applied("pp", hash("1"))
	w.push(hash("2"), map[string]string{"pp/a.yaml": config("a", "2"), "cluster/app.yaml": open})
	w.applied("pp", hash("2"))
	w.push(hash("3"), map[string]string{"pp/a.yaml": config("a", "2"), "cluster/app.yaml": closed})
	w.applied("root", hash("3"))

	// Something new waits, and the rollback under it does not.
	w.repo.commit(hash("4"), map[string]string{"pp/a.yaml": config("a", "1"), "cluster/app.yaml": closed})
	w.repo.mu.Lock()
	w.repo.log[len(w.repo.log)-1].Message = "Roll back\n\nSlipway-Rollback: " + hash("2") + ".." + hash("1")
	w.repo.mu.Unlock()
	w.push(hash("5"), map[string]string{"pp/a.yaml": config("a", "5"), "cluster/app.yaml": closed})
	w.configIs("pp", "a", "1")
	w.waits("pp", hash("5"), reconciler.WaitWindow)
	w.applied("pp", hash("4"))
}

func TestSuspendedUntilATime(t *testing.T) {
	until := time.Now().Add(10 * time.Hour).UTC().Format(time.RFC3339)
	w := newWorld(t, nil)
	declared := windowed(`"suspendUntil": "` + until + `"`)
	w.say(hash("1"), "", map[string]string{"pp/a.yaml": config("a", "1"), "cluster/app.yaml": declared})
	w.applied("root", hash("1"))
	w.touch("pp")
	if s := w.application("pp").Status; s.LastAppliedCommit != "" {
		t.Errorf("it was applied while suspended: %+v", s)
	}
	w.clock.forward(11 * time.Hour)
	w.touch("pp")
	w.applied("pp", hash("1"))
}

func TestHoldsKeepOutWhatIsBad(t *testing.T) {
	w := newWorld(t, nil)
	bad := "sha256:" + digest
	image := func(v, image string) map[string]string {
		return map[string]string{"pp/a.yaml": config("a", v), "pp/b.yaml": config("b", image)}
	}
	with := func(files map[string]string, holds string) map[string]string {
		files["cluster/app.yaml"] = windowed(`"holds": [` + holds + `]`)
		return files
	}
	w.say(hash("1"), "", with(image("1", "i"), ""))
	w.applied("pp", hash("1"))

	// A commit that is held is not applied, nor is one that is the same.
	badCommit := `{"commit": "` + hash("2") + `", "reason": "it breaks the shop"}`
	w.push(hash("b"), with(image("1", "i"), badCommit))
	w.eventually("the hold is declared", func() error {
		if h := w.application("pp").Spec.Holds; len(h) != 1 {
			return fmt.Errorf("holds %+v", h)
		}
		return nil
	})
	w.push(hash("2"), with(image("2", "i"), badCommit))
	w.waits("pp", hash("2"), reconciler.WaitHold)
	w.push(hash("3"), with(image("2", "i"), badCommit))
	if waiting := w.waits("pp", hash("3"), reconciler.WaitHold); !strings.Contains(waiting.Message, "it breaks the shop") {
		t.Errorf("it says %s", waiting.Message)
	}
	w.configIs("pp", "a", "1")
	// One that changes the application again passes.
	w.push(hash("4"), with(image("4", "i"), badCommit))
	w.applied("pp", hash("4"))

	// An image that is held is not brought in, also where a file beside the objects says so.
	files := with(image("5", "example.com/i@"+bad), "")
	files["pp/.holds.json"] = `[{"digest": "` + bad + `", "reason": "leaks"}]`
	w.push(hash("5"), files)
	if waiting := w.waits("pp", hash("5"), reconciler.WaitHold); !strings.Contains(waiting.Message, "pp/configmap/b would get the image "+bad+", which is held: leaks") {
		t.Errorf("it says %s", waiting.Message)
	}
	w.configIs("pp", "a", "4")
	// Mistakes in that file are mistakes of the commit.
	files["pp/.holds.json"] = `[{"digset": "x"}]`
	w.push(hash("6"), files)
	w.eventually("the mistake is reported", func() error {
		if p := w.application("pp").Status.Problems; len(p) != 1 || p[0].File != "pp/.holds.json" {
			return fmt.Errorf("problems %+v", p)
		}
		return nil
	})

	// Kept at a commit, it goes there; until a time, by itself.
	until := w.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)
	w.push(hash("7"), with(image("7", "i"), `{"at": "`+hash("1")+`", "until": "`+until+`"}`))
	w.waits("pp", hash("7"), reconciler.WaitHold)
	w.applied("pp", hash("1"))
	w.configIs("pp", "a", "1")
	w.clock.forward(2 * time.Hour)
	w.touch("pp")
	w.applied("pp", hash("7"))
	w.configIs("pp", "a", "7")
}

// TestWhatBeganIsCarriedOutToItsEnd: an apply that failed half way through goes on although
// the window has closed.
func TestWhatBeganIsCarriedOutToItsEnd(t *testing.T) {
	w := newWorld(t, nil)
	declared := windowed(`"windows": [{"kind": "Deny", "schedule": "* * * * *", "duration": "1h"}]`)
	w.say(hash("1"), "", map[string]string{"pp/a.yaml": config("a", "1"), "cluster/app.yaml": windowed(`"windows": []`)})
	w.applied("pp", hash("1"))
	w.push(hash("2"), map[string]string{"pp/a.yaml": config("a", "1"), "cluster/app.yaml": declared})
	w.applied("root", hash("2"))
	w.push(hash("3"), map[string]string{"pp/a.yaml": config("a", "3"), "cluster/app.yaml": declared})
	w.waits("pp", hash("3"), reconciler.WaitWindow)
	w.eventually("it is as if it had begun", func() error {
		app := w.application("pp")
		app.Status.Waiting.Reason = "Started"
		return w.client.Status().Update(t.Context(), app)
	})
	w.touch("pp")
	w.applied("pp", hash("3"))
	w.eventually("nothing waits", func() error {
		if waiting := w.application("pp").Status.Waiting; waiting != nil {
			return fmt.Errorf("%+v", waiting)
		}
		return nil
	})
}

func override(w *world, kind, apiVersion, name, patch string, d time.Duration) *v1alpha1.Override {
	o := &v1alpha1.Override{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "fire-" + name}}
	o.Spec = v1alpha1.OverrideSpec{
		Application: "pp", Object: v1alpha1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: "pp", Name: name},
		Owner: "Ada <ada@example.com>", Reason: "the shop is on fire", Until: metav1.NewTime(w.clock.now().Add(d).Truncate(time.Second)), Signature: "checked by the server",
	}
	o.Spec.Patch.Raw = json.RawMessage(patch)
	return o
}

func TestAnOverrideStandsAgainstGitAndEndsByItself(t *testing.T) {
	dc := func(replicas, env string) string {
		return fmt.Sprintf(`apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: web}
spec:
  replicas: %s
  selector: {app: web}
  triggers: [{type: ConfigChange}]
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "example.com/i@sha256:%s", env: [{name: V, value: %q}]}]}
`, replicas, digest, env)
	}
	w := newWorld(t, map[string]string{"projects/pp/dc.yaml": dc("1", "1")})
	w.applied("pp", "c1")
	is := func(replicas int32, env string) {
		w.Helper()
		w.eventually(fmt.Sprintf("%d replicas with %s", replicas, env), func() error {
			var live appsv1.DeploymentConfig
			if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: "pp", Name: "web"}, &live); err != nil {
				return err
			}
			if live.Spec.Replicas != replicas || live.Spec.Template.Spec.Containers[0].Env[0].Value != env {
				return fmt.Errorf("%d replicas, %+v", live.Spec.Replicas, live.Spec.Template.Spec.Containers[0].Env)
			}
			return nil
		})
	}
	is(1, "1")
	w.must(w.client.Create(t.Context(), override(w, "DeploymentConfig", "apps.openshift.io/v1", "web", `{"spec": {"replicas": 5}}`, time.Hour)))
	is(5, "1")
	w.eventually("the status shows it", func() error {
		s := w.application("pp").Status
		if len(s.Overrides) != 1 || !strings.HasPrefix(s.Overrides[0], "fire-web: pp/deploymentconfig/web until ") ||
			!strings.HasSuffix(s.Overrides[0], " by Ada <ada@example.com>: the shop is on fire") {
			return fmt.Errorf("%q", s.Overrides)
		}
		return nil
	})

	// It stands against whoever changes the object by hand, and against git, whose other
	// changes go on being applied.
	var live appsv1.DeploymentConfig
	w.must(w.client.Get(t.Context(), client.ObjectKey{Namespace: "pp", Name: "web"}, &live))
	live.Spec.Replicas = 7
	w.must(w.client.Update(t.Context(), &live))
	is(5, "1")
	w.push("c2", map[string]string{"projects/pp/dc.yaml": dc("2", "2")})
	w.applied("pp", "c2")
	is(5, "2")

	w.clock.forward(2 * time.Hour)
	w.touch("pp")
	is(2, "2")
	w.eventually("the status shows none", func() error {
		if s := w.application("pp").Status; len(s.Overrides) > 0 {
			return fmt.Errorf("%q", s.Overrides)
		}
		return nil
	})
	w.eventually("both are told", func() error {
		var events corev1.EventList
		if err := w.client.List(t.Context(), &events, client.InNamespace("slipway")); err != nil {
			return err
		}
		told := map[string]bool{}
		for _, e := range events.Items {
			told[e.Reason] = true
		}
		if !told["Overridden"] || !told["OverrideEnded"] {
			return fmt.Errorf("only %v", told)
		}
		return nil
	})
}

// TestAnOverrideWorksWhileGitIsBad: break-glass is for bad days.
func TestAnOverrideWorksWhileGitIsBad(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/pp/a.yaml": config("a", "1"), "projects/pp/b.yaml": config("b", "1")})
	w.applied("pp", "c1")
	w.push("c2", map[string]string{"projects/pp/a.yaml": "mistake"})
	w.eventually("the mistake is reported", func() error {
		if s := w.application("pp").Status; len(s.Problems) == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	o := override(w, "ConfigMap", "v1", "a", `{"data": {"v": "5"}}`, time.Hour)
	w.must(w.client.Create(t.Context(), o))
	w.configIs("pp", "a", "5")
	w.configIs("pp", "b", "1")

	// Ended before its time.
	w.eventually("it is ended", func() error {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{Type: v1alpha1.OverrideEnded, Status: metav1.ConditionTrue, Reason: "ByHand"})
		return w.client.Status().Update(t.Context(), o)
	})
	w.configIs("pp", "a", "1")
}
