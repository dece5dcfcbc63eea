package builder_test

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
)

func TestDockerStrategy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	src := s.source(map[string]string{
		"svc/Dockerfile":    "FROM nothing AS first\nARG WHO\nRUN echo \"$WHO $COLOUR $SECRET\" > /made\nFROM nothing\nCOPY --from=first /made /made\nCOPY . /ctx\nCMD [\"sh\", \"-c\", \"cat /made; find /ctx -type f | sort; cat /ctx/keys/token\"]\n",
		"svc/.dockerignore": "*\n!in\n!keys\n",
		"svc/in":            "x", "svc/out": "x", "outside": "x",
	})
	src.ContextDir = "svc"
	src.Images = []buildv1.ImageSource{{From: corev1.ObjectReference{Kind: "DockerImage", Name: s.base}, As: []string{"nothing"},
		Paths: []buildv1.ImageSourcePath{{SourcePath: "/bin/busybox", DestinationDir: "tools"}}}}
	src.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "creds"}, DestinationDir: "keys"}}
	s.secret("creds", "token", "t0ken")
	b := s.pending("app-1", buildv1.CommonSpec{
		Source: src, Output: buildv1.BuildOutput{ImageLabels: []buildv1.ImageLabel{{Name: "team", Value: "a $b \"c\""}}},
		Strategy: buildv1.BuildStrategy{DockerStrategy: &buildv1.DockerBuildStrategy{
			Env: []corev1.EnvVar{{Name: "COLOUR", Value: "blue $HOME"}, {Name: "SECRET", ValueFrom: &corev1.EnvVarSource{
				SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "creds"}, Key: "token"}}}},
			BuildArgs: []corev1.EnvVar{{Name: "WHO", Value: "me"}},
		}},
		PostCommit: buildv1.BuildPostCommitSpec{Script: "test -f /made && echo hook $1", Args: []string{"ran"}},
	})
	done := s.ended(b, buildv1.BuildPhaseComplete, "")
	if log := s.log(b); !strings.Contains(log, "hook ran") || !strings.Contains(log, "pushed "+s.registry) || done.Status.LogSnippet == "" {
		t.Errorf("log: %s\nsnippet: %s", log, done.Status.LogSnippet)
	}
	if g := done.Spec.Revision; g == nil || g.Git.Commit != commit || g.Git.Author.Email != "ann@example.com" || g.Git.Message != "first" {
		t.Errorf("revision: %+v", g)
	}
	info, out := s.pushed(done)
	if want := "me blue $HOME t0ken\n/ctx/in\n/ctx/keys/token\n/ctx/tools/busybox\nt0ken"; out != want {
		t.Errorf("image prints %q, want %q", out, want)
	}
	for _, want := range []string{"OPENSHIFT_BUILD_NAME=app-1", "OPENSHIFT_BUILD_NAMESPACE=" + s.project, "OPENSHIFT_BUILD_SOURCE=" + src.Git.URI, "OPENSHIFT_BUILD_REFERENCE=main", "OPENSHIFT_BUILD_COMMIT=" + commit, "COLOUR=blue $HOME"} {
		if !slices.Contains(info.Config.Env, want) {
			t.Errorf("no %s in %q", want, info.Config.Env)
		}
	}
	for k, v := range map[string]string{"team": `a $b "c"`, "io.openshift.build.commit.id": commit, "io.openshift.build.commit.author": "Ann <ann@example.com>", "io.openshift.build.source-context-dir": "svc"} {
		if info.Config.Labels[k] != v {
			t.Errorf("label %s is %q, want %q", k, info.Config.Labels[k], v)
		}
	}
}

func (s *site) secret(name, key, value string) {
	s.t.Helper()
	err := s.client.Create(s.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.project, Name: name}, Data: map[string][]byte{key: []byte(value)}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// A configuration's builds leave a cache that the next one uses, and that does not grow.
func TestLayerCacheIsUsedAndBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	count := func() int {
		list, err := s.docker.ImageList(t.Context(), image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "slipway.dev/build-config="+s.project+"/app"))})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	var counts []int
	var prints []string
	for _, name := range []string{"app-1", "app-2", "app-3", "app-4"} {
		b := s.pending(name, buildv1.CommonSpec{Strategy: s.dockerStrategy(), Source: s.source(map[string]string{
			"Dockerfile": "FROM " + s.base + " AS a\nRUN head -c 16 /dev/urandom | md5sum > /once\nCOPY changing /a\nFROM x\nCOPY --from=a /once /a /\nCMD [\"cat\", \"/once\"]\n",
			"changing":   name,
		})})
		_, out := s.pushed(s.ended(b, buildv1.BuildPhaseComplete, ""))
		prints, counts = append(prints, out), append(counts, count())
	}
	if prints[0] != prints[3] {
		t.Errorf("the engine's cache was of no use: %q", prints)
	}
	if counts[0] == 0 || counts[3] > counts[1] {
		t.Errorf("images kept after each build: %v", counts)
	}
}

func TestSourceStrategy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.secret("creds", "token", "t0ken")
	from := s.builderImage(map[string]string{
		"s2i/assemble":       "#!/bin/sh\nset -e\ntest -s /app/keys/token && test -s /etc/more/token\nid -u > /app/who\nmv /tmp/src/* /app/\ntest ! -e /tmp/artifacts/cache || cp /tmp/artifacts/cache /app/restored\necho $KIND > /app/cache\nmkdir -p /tmp/.s2i\necho '{\"labels\":[{\"from\":\"assemble\"}]}' > /tmp/.s2i/image_metadata.json\n",
		"s2i/run":            "#!/bin/sh\ncat /app/who /app/code /app/tools/busybox.txt; test ! -e /app/restored || cat /app/restored; test ! -e /app/ignored; test -e /app/keys/token && test ! -s /app/keys/token && test ! -s /etc/more/token && echo empty; echo $KIND\n",
		"s2i/save-artifacts": "#!/bin/sh\ncd /app && tar -cf - cache\n",
		"app/":               "", "app/keys/": "", "etc/more/": "", "tools/busybox.txt": "tool\n",
	}, &container.Config{User: "1001", WorkingDir: "/app", Entrypoint: []string{"/bin/env"}, Labels: map[string]string{"io.openshift.s2i.scripts-url": "image:///s2i"}})
	incremental := true
	build := func(name, kind string) *buildv1.Build {
		src := s.source(map[string]string{"code": "code\n", "ignored": "x", ".s2iignore": "ignored\n", ".s2i/environment": "# comment\nKIND=file\nOTHER=o\n", ".git/config": "x"})
		src.Secrets = []buildv1.SecretBuildSource{
			{Secret: corev1.LocalObjectReference{Name: "creds"}, DestinationDir: "keys"}, {Secret: corev1.LocalObjectReference{Name: "creds"}, DestinationDir: "/etc/more"},
		}
		src.Images = []buildv1.ImageSource{{From: corev1.ObjectReference{Kind: "DockerImage", Name: from}, Paths: []buildv1.ImageSourcePath{{SourcePath: "/tools/.", DestinationDir: "tools"}}}}
		strategy := s.sourceStrategy(from)
		strategy.SourceStrategy.Incremental = &incremental
		strategy.SourceStrategy.Env = []corev1.EnvVar{{Name: "KIND", Value: kind}}
		return s.pending(name, buildv1.CommonSpec{Strategy: strategy, Source: src, Output: buildv1.BuildOutput{ImageLabels: []buildv1.ImageLabel{{Name: "from", Value: "config"}}}})
	}
	first := s.ended(build("app-1", "one"), buildv1.BuildPhaseComplete, "")
	info, out := s.pushed(first)
	if want := "1001\ncode\ntool\nempty\none\n"; out != want {
		t.Errorf("image prints %q, want %q", out, want)
	}
	if c := info.Config; c.User != "1001" || c.WorkingDir != "/app" || !slices.Equal(c.Entrypoint, []string{"/bin/env"}) || !slices.Equal(c.Cmd, []string{"/s2i/run"}) ||
		c.Labels["from"] != "assemble" || c.Labels["io.openshift.build.commit.id"] != commit || !slices.Contains(c.Env, "OTHER=o") || !slices.Contains(c.Env, "OPENSHIFT_BUILD_COMMIT="+commit) {
		t.Errorf("config: %+v", c)
	}
	second := s.ended(build("app-2", "two"), buildv1.BuildPhaseComplete, "")
	if _, out := s.pushed(second); out != "1001\ncode\ntool\none\nempty\ntwo\n" {
		t.Errorf("incremental image prints %q", out)
	}
}

func TestSourceScriptsComeFromTheSourceFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	from := s.builderImage(map[string]string{"s2i/assemble": "#!/bin/sh\nexit 3\n", "s2i/run": "#!/bin/sh\necho image\n"},
		&container.Config{Labels: map[string]string{"io.openshift.s2i.scripts-url": "image:///s2i"}})
	b := s.pending("app-1", buildv1.CommonSpec{Strategy: s.sourceStrategy(from), Source: s.source(map[string]string{".s2i/bin/assemble": "#!/bin/sh\necho assembled\n"})})
	if _, out := s.pushed(s.ended(b, buildv1.BuildPhaseComplete, "")); out != "image\n" {
		t.Errorf("image prints %q", out)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	good := map[string]string{".s2i/bin/assemble": "#!/bin/sh\ntrue\n", ".s2i/bin/run": "#!/bin/sh\ntrue\n"}
	deadline := int64(1)
	for _, c := range []struct {
		name    string
		spec    buildv1.CommonSpec
		reason  buildv1.StatusReason
		message string
	}{
		{"app-1", buildv1.CommonSpec{Strategy: s.sourceStrategy(s.base), Source: s.source(map[string]string{".s2i/bin/assemble": "#!/bin/sh\necho the pipe broke >&2\nexit 7\n", ".s2i/bin/run": "#!/bin/sh\n"})}, buildv1.StatusReasonGenericBuildFailed, "ended with code 7: the pipe broke"},
		{"app-2", buildv1.CommonSpec{Strategy: s.sourceStrategy(s.base), Source: s.source(good), PostCommit: buildv1.BuildPostCommitSpec{Command: []string{"/bin/sh", "-c", "echo no good; exit 1"}}}, buildv1.StatusReasonPostCommitHookFailed, "no good"},
		{"app-3", buildv1.CommonSpec{Strategy: s.dockerStrategy(), Source: s.source(map[string]string{"Dockerfile": "FROM x\nRUN exit 4\n"})}, buildv1.StatusReasonDockerBuildFailed, "returned a non-zero code: 4"},
		{"app-4", buildv1.CommonSpec{Strategy: s.sourceStrategy(s.base), Source: s.source(map[string]string{".s2i/bin/assemble": "#!/bin/sh\nsleep 600\n", ".s2i/bin/run": "#!/bin/sh\n"}), CompletionDeadlineSeconds: &deadline}, "DeadlineExceeded", "completionDeadlineSeconds: 1"},
		{"app-5", buildv1.CommonSpec{Strategy: s.dockerStrategy(), Source: buildv1.BuildSource{Git: &buildv1.GitBuildSource{URI: "https://git.example.com/none.git"}}}, buildv1.StatusReasonFetchSourceFailed, "no repository at"},
		{"other-1", buildv1.CommonSpec{Strategy: s.sourceStrategy(s.base), Source: s.source(nil)}, buildv1.StatusReasonGenericBuildFailed, "script: neither .s2i/bin/"},
	} {
		b := s.ended(s.pending(c.name, c.spec), buildv1.BuildPhaseFailed, c.reason)
		if !strings.Contains(b.Status.Message, c.message) || b.Status.Output.To != nil {
			t.Errorf("%s: %q, want %q; output %v", c.name, b.Status.Message, c.message, b.Status.Output.To)
		}
	}
	if tags := s.tags("out"); strings.Contains(tags, "latest") {
		t.Errorf("a failed build pushed: %s", tags)
	}
}

func TestBuildsPushIntoTheirOwnProjectOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.pending("app-1", buildv1.CommonSpec{Strategy: s.dockerStrategy(), Source: s.source(map[string]string{"Dockerfile": "FROM x\n"})})
	s.ended(b, buildv1.BuildPhaseComplete, "")
	other := &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.project, Name: "app-2", Annotations: b.Annotations},
		Spec:       b.Spec,
		Status:     buildv1.BuildStatus{Phase: buildv1.BuildPhasePending, OutputDockerImageReference: s.registry + "/" + s.project + "-prod/out:latest"},
	}
	if err := s.client.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s.ended(other, buildv1.BuildPhaseFailed, buildv1.StatusReasonPushImageToRegistryFailed)
}

func TestCancelFollowAndRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	slow := func() buildv1.CommonSpec {
		return buildv1.CommonSpec{Strategy: s.sourceStrategy(s.base), Source: s.source(map[string]string{
			".s2i/bin/assemble": "#!/bin/sh\necho begun\nwhile [ ! -e /go ]; do sleep 0.1; done\n", ".s2i/bin/run": "#!/bin/sh\necho ran\n"})}
	}
	running := func(b *buildv1.Build) string {
		s.until(b, "running container", func(b *buildv1.Build) bool {
			return len(s.containers(b)) == 1 && strings.Contains(s.log(b), "begun")
		})
		return s.containers(b)[0].ID
	}
	b := s.pending("app-1", slow())
	running(b)
	follow, err := s.builder.Logs(t.Context(), kube.ObjectKeyFromObject(b), true)
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	s.update(b, func(b *buildv1.Build) { b.Status.Cancelled = true })
	s.ended(b, buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild)
	if text, err := io.ReadAll(follow); err != nil || !strings.Contains(string(text), "begun") || !strings.Contains(string(text), "the build was cancelled") {
		t.Errorf("followed log: %v %q", err, text)
	}

	b = s.pending("app-2", slow())
	running(b)
	s.stop()
	s.start()
	id := running(b)
	if out, err := s.exec(id, "touch", "/go"); err != nil {
		t.Fatal(err, out)
	}
	if _, out := s.pushed(s.ended(b, buildv1.BuildPhaseComplete, "")); out != "ran\n" {
		t.Errorf("image prints %q", out)
	}

	b = s.pending("app-3", slow())
	running(b)
	if err := s.client.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); len(s.containers(b)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the container of a deleted build stays")
		}
	}
}
