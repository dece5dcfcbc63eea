package build_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/build"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

type silent struct{}

func (silent) Event(client.Object, string, string, string, ...any) {}

type cluster struct {
	t      *testing.T
	client client.WithWatch
	*build.Controller
}

var key = types.NamespacedName{Namespace: "p", Name: "bc"}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, client: statetest.New(t)}
	c.Controller = c.controller(c.client)
	return c
}

func (c *cluster) controller(cl client.WithWatch) *build.Controller {
	// Nothing here may depend on looking again: what is waited for wakes the build.
	return build.New(build.Deps{Client: cl, Events: silent{}, Log: slog.New(slog.DiscardHandler), Look: time.Hour})
}

func (c *cluster) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.Run(ctx, c.client, slog.New(slog.DiscardHandler), c.Controllers()...)
	}()
	c.t.Cleanup(func() { cancel(); <-done })
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) node(name string) {
	c.t.Helper()
	c.must(c.client.Create(c.t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}))
}

// stream has a repository and, where image is given, an image on tag `1`.
func (c *cluster) stream(name, image string) {
	c.t.Helper()
	s := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "p", Name: name}}
	c.must(client.IgnoreAlreadyExists(c.client.Create(c.t.Context(), s)))
	c.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := c.client.Get(c.t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		s.Status.DockerImageRepository = "127.0.0.1:5000/p/" + name
		if image != "" {
			s.Status.Tags = []imagev1.NamedTagEventList{{Tag: "1", Items: []imagev1.TagEvent{{DockerImageReference: image, Image: image}}}}
		}
		return c.client.Status().Update(c.t.Context(), s)
	}))
}

// config builds from base:1 into out:latest.
func (c *cluster) config(policy buildv1.BuildRunPolicy, triggers ...buildv1.BuildTriggerType) {
	c.t.Helper()
	bc := &buildv1.BuildConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "p", Name: "bc"}}
	bc.Spec.RunPolicy = policy
	bc.Spec.Source.Git = &buildv1.GitBuildSource{URI: "https://git.example.com/a.git"}
	bc.Spec.Strategy.SourceStrategy = &buildv1.SourceBuildStrategy{From: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "base:1"}}
	bc.Spec.Output.To = &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "out:latest"}
	for _, t := range triggers {
		bc.Spec.Triggers = append(bc.Spec.Triggers, buildv1.BuildTriggerPolicy{Type: t})
	}
	c.must(c.client.Create(c.t.Context(), bc))
}

// until waits for the configuration's builds to read `number:phase …`.
func (c *cluster) until(want string) []buildv1.Build {
	c.t.Helper()
	var got string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var list buildv1.BuildList
		c.must(c.client.List(c.t.Context(), &list, client.InNamespace("p")))
		var words []string
		for _, b := range list.Items {
			words = append(words, strings.TrimPrefix(b.Name, "bc-")+":"+string(b.Status.Phase))
		}
		if got = strings.Join(words, " "); got == want {
			return list.Items
		}
	}
	c.t.Fatalf("builds are %q, want %q", got, want)
	return nil
}

func (c *cluster) set(name string, phase buildv1.BuildPhase) {
	c.t.Helper()
	c.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		b := &buildv1.Build{}
		if err := c.client.Get(c.t.Context(), types.NamespacedName{Namespace: "p", Name: name}, b); err != nil {
			return err
		}
		b.Status.Phase = phase
		return c.client.Status().Update(c.t.Context(), b)
	}))
}

func (c *cluster) instantiate(req buildv1.BuildRequest) *buildv1.Build {
	c.t.Helper()
	b, err := c.Instantiate(c.t.Context(), key, &req)
	c.must(err)
	return b
}

func (c *cluster) lastVersion() int64 {
	c.t.Helper()
	bc := &buildv1.BuildConfig{}
	c.must(c.client.Get(c.t.Context(), key, bc))
	return bc.Status.LastVersion
}

func TestRequestedBuildGoesToTheReadyNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1")
	c.stream("base", "r/base:1")
	c.stream("out", "")
	c.config(buildv1.BuildRunPolicySerial)
	c.run()
	rev := &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{Commit: "c0ffee"}}
	made := c.instantiate(buildv1.BuildRequest{Revision: rev, TriggeredBy: []buildv1.BuildTriggerCause{{Message: "hook"}}, Env: []corev1.EnvVar{{Name: "A", Value: "b"}}})
	if made.Name != "bc-1" {
		t.Errorf("named %s", made.Name)
	}
	b := c.until("1:Pending")[0]
	if b.Annotations[api.NodeAnnotation] != "n1" || b.Spec.Revision.Git.Commit != "c0ffee" || b.Spec.TriggeredBy[0].Message != "hook" ||
		b.Spec.Strategy.SourceStrategy.From.Name != "r/base:1" || b.Spec.Strategy.SourceStrategy.Env[0].Name != "A" || b.Status.OutputDockerImageReference != "127.0.0.1:5000/p/out:latest" {
		t.Errorf("%+v %+v", b.Spec, b.Status)
	}
}

func TestUnresolvedBuildSaysWhyAndStartsWhenItCan(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.config(buildv1.BuildRunPolicySerial)
	c.run()
	c.instantiate(buildv1.BuildRequest{})
	reason := func(want buildv1.StatusReason) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			got := c.until("1:New")[0].Status
			if got.Reason == want && got.Message != "" {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s (%s), want %s", got.Reason, got.Message, want)
			}
		}
	}
	reason(buildv1.StatusReasonInvalidImageReference)
	c.stream("base", "r/base:1")
	reason(buildv1.StatusReasonInvalidOutputReference)
	c.node("n1")
	c.stream("out", "")
	b := c.until("1:Pending")[0]
	if b.Status.Reason != "" || b.Status.Message != "" {
		t.Errorf("%+v", b.Status)
	}
}

func TestSerialBuildsRunInOrder(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1")
	c.stream("base", "r/base:1")
	c.stream("out", "")
	c.config(buildv1.BuildRunPolicySerial)
	c.run()
	for range 3 {
		c.instantiate(buildv1.BuildRequest{})
	}
	c.until("1:Pending 2:New 3:New")
	c.set("bc-1", buildv1.BuildPhaseRunning)
	c.set("bc-1", buildv1.BuildPhaseFailed)
	c.until("1:Failed 2:Pending 3:New")
	c.must(c.client.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}))
	c.until("1:Failed 2:Error 3:New")
}

func TestLatestOnlyCancelsTheOlder(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1")
	c.stream("base", "r/base:1")
	c.stream("out", "")
	c.config(buildv1.BuildRunPolicySerialLatestOnly)
	c.run()
	c.instantiate(buildv1.BuildRequest{})
	c.until("1:Pending")
	c.instantiate(buildv1.BuildRequest{})
	c.instantiate(buildv1.BuildRequest{})
	list := c.until("1:Pending 2:Cancelled 3:New")
	if s := list[1].Status; !s.Cancelled || s.CompletionTimestamp == nil || s.Reason != buildv1.StatusReasonCancelledBuild {
		t.Errorf("%+v", s)
	}
}

func TestImageTriggerFiresOncePerImage(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1")
	c.stream("out", "")
	c.config(buildv1.BuildRunPolicyParallel, buildv1.ConfigChangeBuildTriggerType, buildv1.ImageChangeBuildTriggerType)
	c.run()
	c.stream("base", "r/base:1")
	c.until("1:Pending")
	c.stream("base", "r/base:1")
	c.stream("base", "r/base:2")
	b := c.until("1:Pending 2:Pending")[1]
	if cause := b.Spec.TriggeredBy[0].ImageChangeBuild; cause == nil || cause.ImageID != "r/base:2" || b.Spec.Strategy.SourceStrategy.From.Name != "r/base:2" {
		t.Errorf("%+v", b.Spec.TriggeredBy)
	}
	c.stream("base", "r/base:2")
	// A hook's build takes the image along, and notes it.
	c.instantiate(buildv1.BuildRequest{})
	c.until("1:Pending 2:Pending 3:Pending")
	for range 3 {
		if _, err := c.Reconcile(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	c.until("1:Pending 2:Pending 3:Pending")
}

// A process that dies between the build and the note of its number neither loses what
// fired nor fires twice, and no number is used twice.
func TestCrashBetweenBuildAndNumber(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.stream("base", "r/base:1")
	c.config(buildv1.BuildRunPolicySerial, buildv1.ConfigChangeBuildTriggerType, buildv1.ImageChangeBuildTriggerType)
	var dead atomic.Bool
	died := errors.New("the process is gone")
	dying := c.controller(interceptor.NewClient(c.client, interceptor.Funcs{
		Create: func(ctx context.Context, cl client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			defer dead.Store(true)
			return cl.Create(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, cl client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			if dead.Load() {
				return died
			}
			return cl.SubResource(sub).Update(ctx, o, opts...)
		},
	}))
	if _, err := dying.Reconcile(t.Context(), key); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if n := c.lastVersion(); n != 0 {
		t.Fatalf("last version %d", n)
	}
	if _, err := c.Reconcile(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	c.until("1:New")
	if n := c.lastVersion(); n != 1 {
		t.Errorf("last version %d", n)
	}
	dead.Store(false)
	if _, err := dying.Instantiate(t.Context(), key, &buildv1.BuildRequest{}); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if b := c.instantiate(buildv1.BuildRequest{}); b.Name != "bc-3" {
		t.Errorf("named %s", b.Name)
	}
	c.until("1:New 2:New 3:New")
}

func TestInstantiateSideBySideNeverSharesANumber(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.config(buildv1.BuildRunPolicySerial)
	errs := make(chan error)
	for range 5 {
		go func() {
			_, err := c.controller(c.client).Instantiate(t.Context(), key, &buildv1.BuildRequest{})
			errs <- err
		}()
	}
	for range 5 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	c.until("1:New 2:New 3:New 4:New 5:New")
	if n := c.lastVersion(); n != 5 {
		t.Errorf("last version %d", n)
	}
}

func TestInstantiateIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	ask := func(req buildv1.BuildRequest) error {
		_, err := c.Instantiate(t.Context(), key, &req)
		return err
	}
	if err := ask(buildv1.BuildRequest{}); !apierrors.IsNotFound(err) {
		t.Errorf("missing: %v", err)
	}
	c.config(buildv1.BuildRunPolicySerial)
	seven := int64(7)
	if err := ask(buildv1.BuildRequest{LastVersion: &seven}); !apierrors.IsConflict(err) {
		t.Errorf("other version: %v", err)
	}
	bc := &buildv1.BuildConfig{}
	c.must(c.client.Get(t.Context(), key, bc))
	bc.Annotations = map[string]string{buildv1.BuildConfigPausedAnnotation: "true"}
	c.must(c.client.Update(t.Context(), bc))
	if err := ask(buildv1.BuildRequest{}); !apierrors.IsForbidden(err) {
		t.Errorf("paused: %v", err)
	}
	c.until("")
}

func TestHistoryIsPruned(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1")
	c.stream("base", "r/base:1")
	c.stream("out", "")
	c.config(buildv1.BuildRunPolicyParallel)
	c.run()
	want := ""
	for n := 1; n <= 7; n++ {
		c.instantiate(buildv1.BuildRequest{})
		name := fmt.Sprintf("bc-%d", n)
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			b := &buildv1.Build{}
			c.must(c.client.Get(t.Context(), types.NamespacedName{Namespace: "p", Name: name}, b))
			if b.Status.Phase == buildv1.BuildPhasePending {
				break
			}
		}
		c.set(name, buildv1.BuildPhaseRunning)
		c.set(name, buildv1.BuildPhaseComplete)
		if n > 2 {
			want += fmt.Sprintf(" %d:Complete", n)
		}
	}
	c.until(strings.TrimSpace(want))
}
