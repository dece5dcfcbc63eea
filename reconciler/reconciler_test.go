package reconciler_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// repository is a repository in memory: trees by commit, and the one that is current.
type repository struct {
	mu    sync.Mutex
	trees map[string]fstest.MapFS
	head  string
	// log is the history, oldest first.
	log []api.Commit
}

func (r *repository) commit(name string, files map[string]string) {
	tree := fstest.MapFS{}
	for p, content := range files {
		tree[p] = &fstest.MapFile{Data: []byte(content)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trees == nil {
		r.trees = map[string]fstest.MapFS{}
	}
	r.trees[name], r.head = tree, name
	r.log = append(r.log, api.Commit{Hash: name})
}

func (r *repository) Revision(ctx context.Context, key types.NamespacedName) (api.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at(key, r.head)
}

func (r *repository) RevisionAt(_ context.Context, key types.NamespacedName, ref string) (api.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at(key, ref)
}

func (r *repository) at(key types.NamespacedName, commit string) (api.Revision, error) {
	tree, ok := r.trees[commit]
	if !ok {
		return api.Revision{}, fmt.Errorf("repository %s has no %q", key, commit)
	}
	return api.Revision{Repository: key.String(), Commit: commit, Message: r.message(commit), Author: "Ada <ada@example.com>", Tree: tree}, nil
}

// Changes lists the files that differ between two commits, as sources does.
func (r *repository) Changes(_ context.Context, _ types.NamespacedName, from, to string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, b := r.trees[from], r.trees[to]
	if a == nil || b == nil {
		return nil, fmt.Errorf("there is no %s or no %s", from, to)
	}
	var out []string
	for name, f := range b {
		if old := a[name]; old == nil || !bytes.Equal(old.Data, f.Data) {
			out = append(out, name)
		}
	}
	for name := range a {
		if b[name] == nil {
			out = append(out, name)
		}
	}
	return out, nil
}

// plainYAML renders YAML files, one object each. A file that says "mistake" is one.
// $PASSWORD is a generated value, $ENCODED what an author may make of it.
type plainYAML struct{}

const password = "canary-f00d"

func (plainYAML) Render(_ context.Context, r reconciler.Rendering) (api.Desired, error) {
	var out api.Desired
	var problems api.Problems
	root := r.Path
	if root == "" {
		root = "."
	}
	if _, err := fs.Stat(r.Tree, root); errors.Is(err, fs.ErrNotExist) {
		return out, api.Problems{{File: root, Message: "there is no such folder"}}
	}
	err := fs.WalkDir(r.Tree, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(p) != ".yaml" {
			return err
		}
		data, err := fs.ReadFile(r.Tree, p)
		if err != nil {
			return err
		}
		if strings.Contains(string(data), "mistake") {
			problems = append(problems, api.Problem{File: p, Line: 1, Message: "a mistake"})
			return nil
		}
		value := password
		if r.Conceal {
			value = "stand-in"
		}
		text := strings.NewReplacer("$PASSWORD", value, "$ENCODED", base64.StdEncoding.EncodeToString([]byte(value))).Replace(string(data))
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			return err
		}
		if o.GetNamespace() == "" && r.Project != "" {
			o.SetNamespace(r.Project)
		}
		out.Objects = append(out.Objects, api.DesiredObject{Unstructured: o, Origin: api.Origin{File: p, Line: 1}})
		return nil
	})
	if err == nil && problems != nil {
		err = problems
	}
	out.Depends.Folders = []string{root}
	return out, err
}

type world struct {
	*testing.T
	client *state.Client
	repo   *repository
	r      *reconciler.Reconciler
	clock  clock
}

// newWorld runs the reconciler with an application `root` over everything in the repository.
func newWorld(t *testing.T, files map[string]string, change ...func(*v1alpha1.Application)) *world {
	return newWorldOf(t, files, func(*reconciler.Reconciler) {}, change...)
}

// newWorldOf is newWorld with a reconciler that is set up otherwise.
func newWorldOf(t *testing.T, files map[string]string, set func(*reconciler.Reconciler), change ...func(*v1alpha1.Application)) *world {
	t.Parallel()
	w := &world{T: t, client: statetest.New(t), repo: &repository{}}
	w.repo.commit("c1", files)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.r = &reconciler.Reconciler{
		Client: w.client, Sources: w.repo, Render: plainYAML{}, Log: log, Events: event.New(w.client, "test", log), History: w.repo, Now: w.clock.now, Applier: many{w.client},
	}
	set(w.r)
	app := &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "root"},
		Spec:       v1alpha1.ApplicationSpec{SourceRef: v1alpha1.SourceReference{Name: "root"}},
	}
	for _, f := range change {
		f(app)
	}
	w.must(w.client.Create(t.Context(), app))
	w.must(w.client.Create(t.Context(), &v1alpha1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "root"}, Spec: v1alpha1.GitRepositorySpec{URL: "https://git.example.com/root"},
	}))
	var done sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	done.Go(func() { loop.Run(ctx, w.client, log, w.r.Controllers()...) })
	t.Cleanup(func() { stop(); done.Wait() })
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// push makes a commit current and tells the reconciler, as a source does by its status.
func (w *world) push(commit string, files map[string]string) {
	w.Helper()
	w.repo.commit(commit, files)
	w.tell(commit)
}

func (w *world) tell(commit string) {
	w.Helper()
	w.eventually("the repository's status is written", func() error {
		repo := &v1alpha1.GitRepository{}
		if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: "slipway", Name: "root"}, repo); err != nil {
			return err
		}
		repo.Status.Artifact = &v1alpha1.GitArtifact{Revision: "main@sha1:" + commit, Commit: commit}
		return w.client.Status().Update(w.Context(), repo)
	})
}

func (w *world) eventually(what string, holds func() error) {
	w.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) application(name string) *v1alpha1.Application {
	app := &v1alpha1.Application{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: "slipway", Name: name}, app); client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	return app
}

func (w *world) applied(name, commit string) {
	w.Helper()
	w.eventually(name+" follows "+commit, func() error {
		if s := w.application(name).Status; s.LastAppliedCommit != commit {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

func (w *world) config(ns, name string) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{}
	return cm, w.client.Get(w.Context(), client.ObjectKey{Namespace: ns, Name: name}, cm)
}

func (w *world) configIs(ns, name, want string) {
	w.Helper()
	w.eventually(ns+"/"+name+" says "+want, func() error {
		cm, err := w.config(ns, name)
		if err == nil && cm.Data["v"] != want {
			err = fmt.Errorf("it says %q", cm.Data["v"])
		}
		return err
	})
}

func (w *world) gone(ns, name string) {
	w.Helper()
	w.eventually(ns+"/"+name+" is gone", func() error {
		if _, err := w.config(ns, name); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}

func config(name, v string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  v: %q\n", name, v)
}

func TestEachProjectFolderIsAnApplication(t *testing.T) {
	w := newWorld(t, map[string]string{
		"projects/one/a.yaml": config("a", "1"),
		"projects/two/a.yaml": config("a", "2"),
	})
	w.applied("one", "c1")
	w.applied("two", "c1")
	w.configIs("one", "a", "1")
	w.configIs("two", "a", "2")

	// A mistake in one project stops that one, and no other.
	w.push("c2", map[string]string{
		"projects/one/a.yaml": "mistake", "projects/one/b.yaml": "another mistake",
		"projects/two/a.yaml": config("a", "3"),
	})
	w.applied("two", "c2")
	w.configIs("two", "a", "3")
	w.eventually("both mistakes are reported", func() error {
		s := w.application("one").Status
		if len(s.Problems) != 2 || s.LastAttemptedCommit != "c2" || s.LastAppliedCommit != "c1" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	w.configIs("one", "a", "1")

	// While the newest commit is bad, drift from the last good one is still repaired.
	cm, err := w.config("one", "a")
	w.must(err)
	cm.Data["v"] = "by hand"
	w.must(w.client.Update(t.Context(), cm))
	w.configIs("one", "a", "1")
}

func TestPruneAndKeep(t *testing.T) {
	kept := strings.Replace(config("kept", "1"), "  name:", "  annotations: {slipway.dev/prune: disabled}\n  name:", 1)
	w := newWorld(t, map[string]string{
		"projects/pp/a.yaml": config("a", "1"), "projects/pp/b.yaml": config("b", "1"), "projects/pp/kept.yaml": kept,
	})
	w.applied("pp", "c1")
	w.push("c2", map[string]string{"projects/pp/a.yaml": config("a", "1")})
	w.applied("pp", "c2")
	w.gone("pp", "b")
	w.configIs("pp", "kept", "1")

	// A project whose folder leaves git goes with what it holds.
	files := map[string]string{"projects/qq/a.yaml": config("a", "1")}
	w.push("c3", files)
	w.approve("root", "c4", files)
	w.applied("qq", "c4")
	w.gone("pp", "a")
}

func TestAnEmptyRenderDeletesNothing(t *testing.T) {
	w := newWorld(t, map[string]string{"a.yaml": strings.Replace(config("a", "1"), "metadata:", "metadata:\n  namespace: pp", 1)})
	w.applied("root", "c1")
	w.push("c2", map[string]string{"README.md": "everything is gone"})
	w.eventually("it is refused", func() error {
		if s := w.application("root").Status; len(s.Problems) != 1 || s.LastAppliedCommit != "c1" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	w.configIs("pp", "a", "1")
}

func TestDriftIsPutBackAndSaid(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/pp/a.yaml": config("a", "1")})
	w.applied("pp", "c1")
	cm, err := w.config("pp", "a")
	w.must(err)
	cm.Data["v"] = "by hand"
	w.must(w.client.Update(t.Context(), cm))
	w.configIs("pp", "a", "1")
	w.must(w.client.Delete(t.Context(), cm))
	w.configIs("pp", "a", "1")
	w.eventually("both are recorded", func() error {
		var records v1alpha1.RecordList
		if err := w.client.List(t.Context(), &records); err != nil {
			return err
		}
		n := 0
		for _, r := range records.Items {
			if r.Spec.Reason == reconciler.ReasonDrift {
				n++
			}
		}
		if n != 2 {
			return fmt.Errorf("%d records of drift", n)
		}
		return nil
	})
	w.eventually("it is said", func() error {
		var events corev1.EventList
		if err := w.client.List(t.Context(), &events, client.InNamespace("slipway")); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "DriftCorrected" && strings.Contains(e.Message, `data.v "by hand" → "1"`) {
				return nil
			}
		}
		return fmt.Errorf("among %d events", len(events.Items))
	})
}

// A commit that concerns another project leaves this one where it was: what is changed by
// hand after it is drift still.
func TestDriftAfterAnotherProjectsCommitIsDrift(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/one/c.yaml": config("c", "1"), "projects/two/c.yaml": config("c", "1")})
	w.applied("one", "c1")
	w.push("c2", map[string]string{"projects/one/c.yaml": config("c", "1"), "projects/two/c.yaml": config("c", "2")})
	w.applied("two", "c2")
	cm := &corev1.ConfigMap{}
	w.must(w.client.Get(t.Context(), client.ObjectKey{Namespace: "one", Name: "c"}, cm))
	cm.Data["v"] = "by hand"
	w.must(w.client.Update(t.Context(), cm))
	w.eventually("the change is put back, as drift from the commit that a follows", func() error {
		var records v1alpha1.RecordList
		if err := w.client.List(t.Context(), &records); err != nil {
			return err
		}
		for _, r := range records.Items {
			if r.Spec.Application == "one" && r.Spec.Reason == reconciler.ReasonDrift && r.Spec.Commit == "c1" {
				return nil
			}
		}
		return fmt.Errorf("no record of drift among %d", len(records.Items))
	})
	if got := w.application("one").Status.LastAppliedCommit; got != "c1" {
		t.Errorf("one follows %s", got)
	}
}

func TestReportedDriftStays(t *testing.T) {
	w := newWorld(t, map[string]string{"a.yaml": strings.Replace(config("a", "1"), "metadata:", "metadata:\n  namespace: pp", 1)},
		func(a *v1alpha1.Application) { a.Spec.Drift = v1alpha1.DriftReport })
	w.applied("root", "c1")
	cm, err := w.config("pp", "a")
	w.must(err)
	cm.Data["v"] = "by hand"
	w.must(w.client.Update(t.Context(), cm))
	w.eventually("it is reported", func() error {
		for _, c := range w.application("root").Status.Conditions {
			if c.Reason == reconciler.ReasonDriftReported && strings.Contains(c.Message, "data.v") {
				return nil
			}
		}
		return fmt.Errorf("status %+v", w.application("root").Status)
	})
	w.configIs("pp", "a", "by hand")
}

const deployment = `apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: web, namespace: pp}
spec:
  replicas: 2
  selector: {app: web}
  triggers:
    - type: ConfigChange
    - type: ImageChange
      imageChangeParams: {automatic: true, containerNames: [web], from: {kind: ImageStreamTag, name: "web:latest"}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: " "}]
`

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestTriggersKeepWhatTheyWrote(t *testing.T) {
	w := newWorld(t, map[string]string{"dc.yaml": deployment})
	w.applied("root", "c1")
	key := client.ObjectKey{Namespace: "pp", Name: "web"}
	dc := &appsv1.DeploymentConfig{}
	w.must(w.client.Get(t.Context(), key, dc))
	dc.Spec.Template.Spec.Containers[0].Image = "registry/pp/web@sha256:" + digest
	dc.Spec.Triggers[1].ImageChangeParams.LastTriggeredImage = "registry/pp/web@sha256:" + digest
	w.must(w.client.Update(t.Context(), dc))

	w.push("c2", map[string]string{"dc.yaml": strings.Replace(deployment, "replicas: 2", "replicas: 3", 1)})
	w.applied("root", "c2")
	w.must(w.client.Get(t.Context(), key, dc))
	if dc.Spec.Replicas != 3 || dc.Spec.Template.Spec.Containers[0].Image != "registry/pp/web@sha256:"+digest ||
		dc.Spec.Triggers[1].ImageChangeParams.LastTriggeredImage != "registry/pp/web@sha256:"+digest {
		t.Errorf("after the commit: replicas %d, image %q, trigger %+v", dc.Spec.Replicas,
			dc.Spec.Template.Spec.Containers[0].Image, dc.Spec.Triggers[1].ImageChangeParams)
	}
	if drift := w.application("root"); len(drift.Status.Problems) > 0 {
		t.Errorf("problems: %v", drift.Status.Problems)
	}
}

func TestPreviewChangesNothing(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/pp/a.yaml": config("a", "1"), "projects/pp/dc.yaml": strings.Replace(deployment, ", namespace: pp", "", 1)})
	w.applied("pp", "c1")
	w.repo.mu.Lock()
	head := w.repo.head
	w.repo.mu.Unlock()
	w.repo.commit("branch", map[string]string{
		"projects/pp/a.yaml":   config("a", "2"),
		"projects/pp/dc.yaml":  strings.Replace(strings.Replace(deployment, ", namespace: pp", "", 1), "replicas: 2", "replicas: 5", 1),
		"projects/new/b.yaml":  config("b", "1"),
		"projects/bad/no.yaml": "mistake",
	})
	w.repo.mu.Lock()
	w.repo.head = head
	w.repo.mu.Unlock()
	plans, err := w.r.Preview(t.Context(), types.NamespacedName{Namespace: "slipway", Name: "root"}, "branch")
	w.must(err)
	var text strings.Builder
	for _, p := range plans {
		text.WriteString(p.String())
	}
	for _, want := range []string{
		"~ pp/configmap/a", `data.v: "1" → "2"`, "scales web from 2 to 5 pods", "+ project/new", "+ new/configmap/b",
		"! projects/bad/no.yaml:1: a mistake",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the plans do not say %q:\n%s", want, &text)
		}
	}
	w.configIs("pp", "a", "1")
	if _, err := w.config("new", "b"); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("a preview made new/b: %v", err)
	}
}

func TestForeignObjectsAreNotTaken(t *testing.T) {
	w := newWorld(t, map[string]string{
		"projects/pp/a.yaml": config("a", "1"),
		"cluster/a.yaml":     strings.Replace(config("a", "2"), "metadata:", "metadata:\n  namespace: pp", 1),
	})
	w.eventually("the second is refused", func() error {
		for _, name := range []string{"root", "pp"} {
			for _, p := range w.application(name).Status.Problems {
				if strings.Contains(p.Message, "already managed by application slipway/") {
					return nil
				}
			}
		}
		return fmt.Errorf("root %+v, p %+v", w.application("root").Status, w.application("pp").Status)
	})
}

func TestNothingTakesTheRootsPlace(t *testing.T) {
	itself := "apiVersion: slipway.dev/v1alpha1\nkind: Application\nmetadata: {name: root, namespace: slipway}\nspec: {path: elsewhere}\n"
	for name, c := range map[string]struct{ file, content, want string }{
		"a folder with the root's name":    {"projects/root/a.yaml", config("a", "1"), "a project cannot be named root"},
		"a folder with the root's project": {"projects/slipway/a.yaml", config("a", "1"), "a project cannot be named slipway"},
		"a declaration of the root":        {"cluster/a.yaml", itself, "none declares itself"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, map[string]string{"projects/one/a.yaml": config("a", "1"), c.file: c.content})
			w.eventually("it is refused", func() error {
				root := w.application("root")
				if s := root.Status; len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Message, c.want) || s.LastAppliedCommit != "" {
					return fmt.Errorf("status %+v", s)
				}
				return nil
			})
			if s := w.application("root").Spec; s.Path != "" || s.Project != "" {
				t.Errorf("the root became %+v", s)
			}
		})
	}
}
