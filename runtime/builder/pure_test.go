package builder

import (
	"errors"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/docker/docker/api/types/image"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

func TestPlanAssembly(t *testing.T) {
	all := map[string]bool{"/img/assemble": true, "/img/run": true, "/img/save-artifacts": true, "/own/assemble": true}
	own := fstest.MapFS{".s2i/bin/run": {}, ".s2i/bin/save-artifacts/x": {}}
	scripts := map[string]string{labelScripts: "image:///img/"}
	for name, c := range map[string]struct {
		labels   map[string]string
		env      []string
		tree     fs.FS
		override string
		want     []string // assemble, run, save, destination, assembleAs
		err      string
	}{
		"image's":           {labels: scripts, want: []string{"/img/assemble", "/img/run", "/img/save-artifacts", "/tmp", "u"}},
		"deprecated label":  {labels: map[string]string{labelScriptsDeprecated: "image:///img"}, want: []string{"/img/assemble", "/img/run", "/img/save-artifacts", "/tmp", "u"}},
		"environment":       {env: []string{"A=b", "STI_SCRIPTS_URL=image:///img"}, want: []string{"/img/assemble", "/img/run", "/img/save-artifacts", "/tmp", "u"}},
		"source wins":       {labels: scripts, tree: own, want: []string{"/img/assemble", "/tmp/scripts/run", "/img/save-artifacts", "/tmp", "u"}},
		"configured wins":   {labels: scripts, tree: own, override: "image:///own", want: []string{"/own/assemble", "/tmp/scripts/run", "/img/save-artifacts", "/tmp", "u"}},
		"destination, user": {labels: map[string]string{labelScripts: "image:///img", labelDestination: "/opt/s2i", labelAssembleUser: "root"}, tree: own, want: []string{"/img/assemble", "/opt/s2i/scripts/run", "/img/save-artifacts", "/opt/s2i", "root"}},
		"none":              {err: "no assemble script"},
		"not in the image":  {labels: map[string]string{labelScripts: "image:///nowhere"}, tree: fstest.MapFS{".s2i/bin/assemble": {}}, err: "no run script"},
		"http":              {labels: map[string]string{labelScripts: "http://example.com/s"}, err: "only image:///path"},
		"file":              {labels: scripts, override: "file:///etc", err: "spec.strategy.sourceStrategy.scripts"},
		"bad destination":   {labels: map[string]string{labelScripts: "image:///img", labelDestination: "tmp"}, err: labelDestination},
	} {
		t.Run(name, func(t *testing.T) {
			if c.tree == nil {
				c.tree = fstest.MapFS{}
			}
			base := image.InspectResponse{Config: &dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{User: "u", Labels: c.labels, Env: c.env}}}
			a, err := planAssembly(base, c.tree, c.override, func(p string) (bool, error) { return all[p], nil })
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if got := []string{a.assemble, a.run, a.save, a.destination, a.assembleAs}; err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v %v, want %v", err, got, c.want)
			}
		})
	}
}

func TestPlanAssemblyDoesNotTakeAFailedLookForAbsence(t *testing.T) {
	base := image.InspectResponse{Config: &dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{Labels: map[string]string{labelScripts: "image:///img"}}}}
	broken := errors.New("the engine is away")
	if _, err := planAssembly(base, fstest.MapFS{}, "", func(string) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestOwner(t *testing.T) {
	passwd, group := []byte("root:x:0:0::/:/bin/sh\napp:x:1001:50::/:\nbad line\n"), []byte("staff:x:50:\nweb:x:33:app\n")
	for user, want := range map[string][2]int{
		"": {0, 0}, "root": {0, 0}, "app": {1001, 50}, "1001": {1001, 50}, "7": {7, 0}, "7:8": {7, 8}, "app:web": {1001, 33}, "7:staff": {7, 50},
	} {
		if uid, gid, err := owner(user, passwd, group); err != nil || [2]int{uid, gid} != want {
			t.Errorf("%q: %d:%d %v, want %v", user, uid, gid, err, want)
		}
	}
	for _, user := range []string{"nobody", "app:nobody"} {
		if _, _, err := owner(user, passwd, group); err == nil {
			t.Errorf("%q is taken", user)
		}
	}
}

func sampleBuild() *buildv1.Build {
	return &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: "p", Name: "my-app-12"},
		Spec: buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{
			Source: buildv1.BuildSource{Git: &buildv1.GitBuildSource{URI: "https://g/a.git", Ref: "main"}, ContextDir: "svc"},
			Output: buildv1.BuildOutput{ImageLabels: []buildv1.ImageLabel{{Name: "io.openshift.build.commit.ref", Value: "mine"}, {Name: labelBuild, Value: "theirs"}}},
		}},
	}
}

var sampleRevision = api.Revision{Commit: "c0ffee", Author: "Ann <a@b>", Message: "\none\ntwo", When: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}

func TestImageLabels(t *testing.T) {
	want := map[string]string{
		"io.openshift.build.name": "my-app-12", "io.openshift.build.namespace": "p",
		"io.openshift.build.source-location": "https://g/a.git", "io.openshift.build.source-context-dir": "svc",
		"io.openshift.build.commit.id": "c0ffee", "io.openshift.build.commit.ref": "mine", "io.openshift.build.commit.author": "Ann <a@b>",
		"io.openshift.build.commit.message": "one", "io.openshift.build.commit.date": "Mon May 6 07:08:09 2024 +0000",
		"slipway.dev/build": "p/my-app-12", "slipway.dev/build-config": "p/my-app",
	}
	if got := imageLabels(sampleBuild(), sampleRevision); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	inline := sampleBuild()
	inline.Spec.Source, inline.Spec.Output = buildv1.BuildSource{}, buildv1.BuildOutput{}
	if got := imageLabels(inline, api.Revision{}); len(got) != 4 {
		t.Errorf("without git: %v", got)
	}
}

func TestEnvironment(t *testing.T) {
	got := pairs(append(buildEnv(sampleBuild(), sampleRevision), corev1.EnvVar{Name: "A", Value: "1"}, corev1.EnvVar{Name: "OPENSHIFT_BUILD_COMMIT", Value: "x"}, corev1.EnvVar{Name: "A", Value: "2"}))
	want := []string{"OPENSHIFT_BUILD_NAME=my-app-12", "OPENSHIFT_BUILD_NAMESPACE=p", "OPENSHIFT_BUILD_SOURCE=https://g/a.git", "OPENSHIFT_BUILD_REFERENCE=main", "OPENSHIFT_BUILD_COMMIT=x", "A=2"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOutcome(t *testing.T) {
	at := time.Unix(100, 0)
	started := metav1.NewTime(time.Unix(40, 0))
	for name, c := range map[string]struct {
		err    error
		phase  buildv1.BuildPhase
		reason buildv1.StatusReason
		text   string
	}{
		"good":      {nil, buildv1.BuildPhaseComplete, "", ""},
		"cancelled": {errCancelled, buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, "the build was cancelled"},
		"failed":    {fail(buildv1.StatusReasonDockerBuildFailed, errors.New("no")), buildv1.BuildPhaseFailed, buildv1.StatusReasonDockerBuildFailed, "no"},
		"inner reason stays": {fail(buildv1.StatusReasonGenericBuildFailed, fail(buildv1.StatusReasonOutOfMemoryKilled, errors.New("oom"))),
			buildv1.BuildPhaseFailed, buildv1.StatusReasonOutOfMemoryKilled, "oom"},
		"ours": {errors.New("disk full"), buildv1.BuildPhaseError, buildv1.StatusReasonError, "disk full"},
	} {
		b := &buildv1.Build{Status: buildv1.BuildStatus{Phase: buildv1.BuildPhaseRunning, StartTimestamp: &started}}
		outcome(b, "sha256:1", c.err, at)
		s := b.Status
		if s.Phase != c.phase || s.Reason != c.reason || s.Message != c.text || s.Duration != time.Minute || !s.CompletionTimestamp.Time.Equal(at) || (s.Output.To != nil) != (c.err == nil) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestHook(t *testing.T) {
	for name, c := range map[string]struct {
		p               buildv1.BuildPostCommitSpec
		entrypoint, cmd []string
	}{
		"none":             {},
		"script":           {buildv1.BuildPostCommitSpec{Script: "s"}, []string{"/bin/sh", "-ic"}, []string{"s"}},
		"script and args":  {buildv1.BuildPostCommitSpec{Script: "s", Args: []string{"a"}}, []string{"/bin/sh", "-ic"}, []string{"s", "/bin/sh", "a"}},
		"command":          {buildv1.BuildPostCommitSpec{Command: []string{"c"}}, []string{"c"}, nil},
		"command and args": {buildv1.BuildPostCommitSpec{Command: []string{"c"}, Args: []string{"a"}}, []string{"c"}, []string{"a"}},
		"args":             {buildv1.BuildPostCommitSpec{Args: []string{"a"}}, nil, []string{"a"}},
	} {
		if e, cmd := hook(c.p); !slices.Equal(e, c.entrypoint) || !slices.Equal(cmd, c.cmd) {
			t.Errorf("%s: %q %q", name, e, cmd)
		}
	}
}

func TestSourceEnv(t *testing.T) {
	env, err := sourceEnv(fstest.MapFS{sourceEnvironment: {Data: []byte("# c\n\nA=1\n B = x=y \nEMPTY=\n")}})
	want := []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "x=y"}, {Name: "EMPTY"}}
	if err != nil || !reflect.DeepEqual(env, want) {
		t.Errorf("%v %v", err, env)
	}
	if _, err := sourceEnv(fstest.MapFS{sourceEnvironment: {Data: []byte("A=1\noops\n")}}); err == nil || !strings.HasPrefix(err.Error(), ".s2i/environment:2: ") {
		t.Error(err)
	}
	if env, err := sourceEnv(fstest.MapFS{}); err != nil || env != nil {
		t.Error(env, err)
	}
}

func FuzzSourceEnv(f *testing.F) {
	f.Add("A=1\n#x\n =\n")
	f.Fuzz(func(t *testing.T, in string) {
		env, err := sourceEnv(fstest.MapFS{sourceEnvironment: {Data: []byte(in)}})
		if err != nil {
			return
		}
		for _, e := range env {
			if e.Name == "" || strings.ContainsAny(e.Name, "=\n\x00") || strings.ContainsAny(e.Value, "\n\x00") {
				t.Errorf("%q", e)
			}
		}
	})
}

func TestSecretAuths(t *testing.T) {
	s := &corev1.Secret{Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"https://r.example.com/v1/":{"auth":"dTpwOnE="},"x:5000":{"username":"a","password":"b"}}}`)}}
	auths, err := secretAuths(s)
	if a := auths["r.example.com"]; err != nil || a.Username != "u" || a.Password != "p:q" || auths["x:5000"].Password != "b" {
		t.Errorf("%v %v", err, auths)
	}
	if _, err := secretAuths(&corev1.Secret{Data: map[string][]byte{corev1.DockerConfigKey: []byte(`hunter2`)}}); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Error(err)
	}
	for ref, want := range map[string]string{"a": "index.docker.io", "a/b": "index.docker.io", "localhost/a": "localhost", "r.io/a/b@sha256:1": "r.io", "127.0.0.1:5/a:b": "127.0.0.1:5"} {
		if got := host(ref); got != want {
			t.Errorf("host of %s is %s", ref, got)
		}
	}
}

func TestContextDir(t *testing.T) {
	tree := fstest.MapFS{"a/b/c": {}, "f": {}}
	for _, dir := range []string{"", ".", "/"} {
		if got, err := contextDir(tree, dir); err != nil || !reflect.DeepEqual(got, fs.FS(tree)) {
			t.Errorf("%q: %v", dir, err)
		}
	}
	sub, err := contextDir(tree, "/a/b/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(sub, "c"); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"f", "none", "../x", "a/../.."} {
		if _, err := contextDir(tree, dir); err == nil {
			t.Errorf("%q is taken", dir)
		}
	}
}
