package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/remote"
	"slipway.dev/slipway/state/statetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("not within a minute: %s: %v", what, err)
}

// front is a server's node API that can go away and come back at the same address.
type front struct {
	t       *testing.T
	api     *nodeapi.Server
	address string
	server  *http.Server
}

func newFront(t *testing.T, c client.WithWatch) *front {
	t.Helper()
	authority, err := nodeapi.OpenAuthority(t.Context(), c, time.Now())
	must(t, err)
	api, err := nodeapi.New(nodeapi.Options{Client: c, Authority: authority})
	must(t, err)
	f := &front{t: t, api: api, address: "127.0.0.1:0"}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *front) start() {
	f.t.Helper()
	l, err := net.Listen("tcp", f.address)
	must(f.t, err)
	f.address = l.Addr().String()
	f.server = &http.Server{Handler: f.api.Handler(), TLSConfig: f.api.TLS(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go f.server.ServeTLS(l, "", "")
}

func (f *front) stop() { f.server.Close() }

func (f *front) url() string { return "https://" + f.address }

// joined is a node's identity, in a folder.
func joined(t *testing.T, c client.WithWatch, fronts ...*front) (*remote.Identity, string) {
	t.Helper()
	token, err := nodeapi.NewToken(t.Context(), c, fronts[0].api.Authority, time.Now(), time.Hour)
	must(t, err)
	s := remote.Settings{Name: "n1"}
	for _, f := range fronts {
		s.Servers = append(s.Servers, f.url())
	}
	dir := filepath.Join(t.TempDir(), "node")
	i, err := remote.Join(t.Context(), dir, s, token.String())
	must(t, err)
	return i, dir
}

// mirrored runs a mirror until the test ends, or stop is called.
func mirrored(t *testing.T, i *remote.Identity, dir string) (m *remote.Mirror, stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	bare, err := remote.NewClient(remote.Dial(i, log))
	must(t, err)
	m, err = remote.NewMirror(bare, filepath.Join(dir, "seen"), log)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return m, stop
}

func ready(t *testing.T, m *remote.Mirror) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, m.Ready(ctx))
}

func pod(name, node, uses string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": name}}}
	p.Spec.NodeName = node
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "i:1"}}
	if uses != "" {
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: uses}}}}
	}
	return p
}

func secret(name, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Data: map[string][]byte{"k": []byte(value)}}
}

func key(name string) client.ObjectKey { return client.ObjectKey{Namespace: "shop", Name: name} }

// gone is the phase of a pod that is not there.
const gone corev1.PodPhase = "gone"

// sees waits until the mirror has a pod with a phase, or has none.
func sees(t *testing.T, m client.Client, name string, phase corev1.PodPhase) {
	t.Helper()
	eventually(t, "the mirror sees pod "+name, func() error {
		var p corev1.Pod
		err := m.Get(t.Context(), key(name), &p)
		switch {
		case phase == gone && apierrors.IsNotFound(err):
			return nil
		case err == nil && p.Status.Phase != phase:
			return fmt.Errorf("it is %q", p.Status.Phase)
		}
		return err
	})
}

func setPhase(t *testing.T, c client.Client, name string, phase corev1.PodPhase) {
	t.Helper()
	var p corev1.Pod
	must(t, c.Get(t.Context(), key(name), &p))
	p.Status.Phase = phase
	must(t, c.Status().Update(t.Context(), &p))
}

func TestTheMirrorShowsWhatThereIs(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	must(t, c.Create(ctx, pod("old", "n1", "")))
	f := newFront(t, c)
	i, dir := joined(t, c, f)
	m, _ := mirrored(t, i, dir)
	ready(t, m)
	sees(t, m, "old", "")
	must(t, c.Create(ctx, pod("new", "n1", "")))
	sees(t, m, "new", "")
	// What it writes it reads at once.
	setPhase(t, m, "new", corev1.PodRunning)
	var p corev1.Pod
	must(t, m.Get(ctx, key("new"), &p))
	if p.Status.Phase != corev1.PodRunning {
		t.Errorf("after its own write the pod is %s", p.Status.Phase)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	must(t, m.Get(ctx, key("new"), u))
	if u.GetLabels()["app"] != "new" || u.GetKind() != "Pod" {
		t.Errorf("unstructured: %v", u)
	}
	meta := &metav1.PartialObjectMetadataList{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	must(t, m.List(ctx, meta, client.MatchingLabels{"app": "old"}, client.InNamespace("shop")))
	if len(meta.Items) != 1 || meta.Items[0].Name != "old" {
		t.Errorf("metadata: %+v", meta.Items)
	}
	must(t, c.Delete(ctx, &p, client.GracePeriodSeconds(0)))
	sees(t, m, "new", gone)
}

// Controllers run on it as they do on live state.
func TestControllersRunOnTheMirror(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	f := newFront(t, c)
	i, dir := joined(t, c, f)
	m, _ := mirrored(t, i, dir)
	ready(t, m)
	var mu sync.Mutex
	seen := map[string]bool{}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		loop.Run(running, m, slog.New(slog.DiscardHandler), loop.Controller{Name: "t", Watches: []loop.Watch{{List: &corev1.PodList{}}},
			Reconcile: func(ctx context.Context, k loop.Key) (loop.Result, error) {
				var p corev1.Pod
				err := m.Get(ctx, k, &p)
				mu.Lock()
				seen[k.Name] = err == nil
				mu.Unlock()
				return loop.Result{}, client.IgnoreNotFound(err)
			}})
		close(done)
	}()
	defer func() { stop(); <-done }()
	is := func(name string, there bool) {
		eventually(t, name, func() error {
			mu.Lock()
			defer mu.Unlock()
			if got, ok := seen[name]; !ok || got != there {
				return fmt.Errorf("%v", seen)
			}
			return nil
		})
	}
	must(t, c.Create(ctx, pod("a", "n1", "")))
	is("a", true)
	f.stop()
	must(t, c.Delete(ctx, pod("a", "n1", ""), client.GracePeriodSeconds(0)))
	must(t, c.Create(ctx, pod("b", "n1", "")))
	f.start()
	is("a", false)
	is("b", true)
}

// With the server away the node reads on, also in a new process; its writes fail, soon.
func TestTheMirrorAnswersWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	must(t, c.Create(ctx, secret("needed", "v1")))
	must(t, c.Create(ctx, pod("a", "n1", "needed")))
	f := newFront(t, c)
	i, dir := joined(t, c, f)
	m, stop := mirrored(t, i, dir)
	ready(t, m)
	must(t, m.Get(ctx, key("needed"), &corev1.Secret{}))
	if err := m.Get(ctx, key("optional"), &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("a secret that there is not: %v", err)
	}
	f.stop()
	away := func(m *remote.Mirror) {
		t.Helper()
		sees(t, m, "a", "")
		var s corev1.Secret
		must(t, m.Get(ctx, key("needed"), &s))
		if string(s.Data["k"]) != "v1" {
			t.Errorf("the secret is %q", s.Data)
		}
		// What nobody has said is not said.
		if err := m.Get(ctx, key("unheard-of"), &s); err == nil || apierrors.IsNotFound(err) {
			t.Errorf("a secret that nobody knows of: %v", err)
		}
		var p corev1.Pod
		must(t, m.Get(ctx, key("a"), &p))
		p.Status.Phase = corev1.PodRunning
		eventually(t, "writes fail", func() error {
			if err := m.Status().Update(ctx, p.DeepCopy()); !errors.Is(err, remote.ErrAway) {
				return fmt.Errorf("want ErrAway, got %v", err)
			}
			return nil
		})
	}
	away(m)
	if err := m.Get(ctx, key("optional"), &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the server's last word does not stand: %v", err)
	}
	stop()
	again, err := remote.Load(dir)
	must(t, err)
	m, _ = mirrored(t, again, dir)
	ready(t, m)
	away(m)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %s", path, info.Mode())
		}
		return err
	}))
	must(t, c.Create(ctx, pod("b", "n1", "")))
	f.start()
	sees(t, m, "b", "")
}

// The node goes on to the next server by itself.
func TestTheNextServerIsAsked(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	one, two := newFront(t, c), newFront(t, c)
	i, dir := joined(t, c, one, two)
	m, _ := mirrored(t, i, dir)
	ready(t, m)
	for n, gone := range []*front{one, two, one} {
		gone.stop()
		name := fmt.Sprintf("p%d", n)
		must(t, c.Create(ctx, pod(name, "n1", "")))
		sees(t, m, name, "")
		eventually(t, "a write", func() error {
			var p corev1.Pod
			if err := m.Get(ctx, key(name), &p); err != nil {
				return err
			}
			p.Status.Phase = corev1.PodRunning
			return m.Status().Update(ctx, &p)
		})
		gone.start()
	}
}

// Secrets come with the pod that needs them, follow their changes, and go with it.
func TestSecretsFollowThePods(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	f := newFront(t, c)
	i, dir := joined(t, c, f)
	m, _ := mirrored(t, i, dir)
	ready(t, m)
	count := func(want int, value string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d secrets", want), func() error {
			var all corev1.SecretList
			if err := m.List(ctx, &all); err != nil {
				return err
			}
			if len(all.Items) != want || want > 0 && string(all.Items[0].Data["k"]) != value {
				return fmt.Errorf("it has %+v", all.Items)
			}
			return nil
		})
	}
	must(t, c.Create(ctx, secret("s", "v1")))
	must(t, c.Create(ctx, secret("other", "v1")))
	must(t, c.Create(ctx, pod("a", "n1", "s")))
	// A pod that has arrived finds its secret, whether that has arrived or not.
	sees(t, m, "a", "")
	must(t, m.Get(ctx, key("s"), &corev1.Secret{}))
	count(1, "v1")
	s := secret("s", "v2")
	must(t, c.Update(ctx, s))
	count(1, "v2")
	must(t, c.Delete(ctx, s))
	count(0, "")
	must(t, c.Create(ctx, secret("s", "v3")))
	count(1, "v3")
	must(t, c.Delete(ctx, pod("a", "n1", "s"), client.GracePeriodSeconds(0)))
	count(0, "")
}

// broken is a client whose watches end before they have told all there is.
type broken struct {
	client.WithWatch
	mu   sync.Mutex
	tell []client.Object
}

func (b *broken) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	w := watch.NewFakeWithChanSize(10, false)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.tell {
		w.Add(o.DeepCopyObject())
	}
	w.Stop()
	return w, nil
}

// What began to be told and broke off is not taken for all there is.
func TestHalfAnAnswerIsNone(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	must(t, c.Create(ctx, pod("a", "n1", "")))
	f := newFront(t, c)
	i, dir := joined(t, c, f)
	m, stop := mirrored(t, i, dir)
	ready(t, m)
	stop()
	half, err := remote.NewMirror(&broken{WithWatch: c, tell: []client.Object{pod("b", "n1", "")}}, filepath.Join(dir, "seen"), slog.New(slog.DiscardHandler))
	must(t, err)
	fresh, err := remote.NewMirror(&broken{WithWatch: c}, t.TempDir(), slog.New(slog.DiscardHandler))
	must(t, err)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range []*remote.Mirror{half, fresh} {
		wg.Go(func() { m.Run(short) })
	}
	wg.Wait()
	must(t, half.Get(ctx, key("a"), &corev1.Pod{}))
	if err := fresh.Get(ctx, key("a"), &corev1.Pod{}); err == nil || apierrors.IsNotFound(err) {
		t.Errorf("a mirror that saw nothing yet says: %v", err)
	}
	if err := fresh.List(ctx, &corev1.PodList{}); err == nil {
		t.Error("a mirror that saw nothing yet lists")
	}
	must(t, os.WriteFile(filepath.Join(dir, "seen", "pods.json"), []byte("{"), 0o600))
	if _, err := remote.NewMirror(c, filepath.Join(dir, "seen"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is torn is taken for nothing")
	}
}
