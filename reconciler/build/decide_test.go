package build

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"slipway.dev/slipway/api"
)

// builds reads `number:policy:phase` words, where policy is S, L or P and a trailing `!`
// asks for cancellation.
func builds(words string) []*buildv1.Build {
	policies := map[string]buildv1.BuildRunPolicy{"S": buildv1.BuildRunPolicySerial, "L": buildv1.BuildRunPolicySerialLatestOnly, "P": buildv1.BuildRunPolicyParallel}
	var out []*buildv1.Build
	for _, w := range strings.Fields(words) {
		w, cancelled := strings.CutSuffix(w, "!")
		f := strings.Split(w, ":")
		out = append(out, &buildv1.Build{
			ObjectMeta: metav1.ObjectMeta{
				Name:        "bc-" + f[0],
				Labels:      map[string]string{buildv1.BuildRunPolicyLabel: string(policies[f[1]])},
				Annotations: map[string]string{buildv1.BuildNumberAnnotation: f[0], api.NodeAnnotation: "n" + f[0]},
			},
			Status: buildv1.BuildStatus{Phase: buildv1.BuildPhase(f[2]), Cancelled: cancelled},
		})
	}
	return out
}

func numbers(list []*buildv1.Build) string {
	var out []string
	for _, b := range list {
		out = append(out, strings.TrimPrefix(b.Name, "bc-"))
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	two, one := int32(2), int32(1)
	for name, c := range map[string]struct{ builds, start, cancel, prune string }{
		"nothing":                                {"", "", "", ""},
		"serial: lowest number first":            {"10:S:New 9:S:New", "9", "", ""},
		"serial: one at a time":                  {"1:S:Running 2:S:New", "", "", ""},
		"serial: pending counts":                 {"1:S:Pending 2:S:New", "", "", ""},
		"serial: waits for parallel ones":        {"1:P:Running 2:S:New", "", "", ""},
		"serial: after a bad end":                {"1:S:Failed 2:S:New", "2", "", ""},
		"latest only: older ones are cancelled":  {"1:L:Running 2:L:New 3:L:New 4:L:New", "", "2 3", ""},
		"latest only: the newest goes":           {"1:L:Complete 2:L:New 3:L:New", "3", "2", ""},
		"parallel: all at once":                  {"1:P:Running 2:P:New 3:P:New", "2 3", "", ""},
		"parallel: waits for a running serial":   {"1:S:Running 2:P:New", "", "", ""},
		"parallel: not for a waiting serial":     {"1:S:New 2:P:New", "1 2", "", ""},
		"parallel: then a serial":                {"1:P:New 2:S:New", "1", "", ""},
		"cancelled before it ran":                {"1:S:New! 2:S:New", "2", "1", ""},
		"cancelled while it runs is the node's":  {"1:S:Running! 2:S:New", "", "", ""},
		"history":                                {"1:S:Complete 2:S:Failed 3:S:Complete 4:S:Error 5:S:Complete 6:S:Cancelled 7:S:New", "7", "", "1 2 4"},
		"history keeps what is under the limits": {"1:S:Complete 2:S:Complete 3:S:Failed", "", "", ""},
	} {
		bc := &buildv1.BuildConfig{Spec: buildv1.BuildConfigSpec{SuccessfulBuildsHistoryLimit: &two, FailedBuildsHistoryLimit: &one}}
		d := Decide(bc, builds(c.builds))
		if s, x, p := numbers(d.Start), numbers(d.Cancel), numbers(d.Prune); s != c.start || x != c.cancel || p != c.prune {
			t.Errorf("%s: start %q cancel %q prune %q, want %q %q %q", name, s, x, p, c.start, c.cancel, c.prune)
		}
	}
}

func TestLost(t *testing.T) {
	list := builds("1:S:Complete 2:S:Running 3:S:Pending 4:S:New")
	if got := numbers(lost(list, sets.New("n2"))); got != "3" {
		t.Errorf("lost: %q", got)
	}
}

func TestFire(t *testing.T) {
	from := func(ns, name string) *corev1.ObjectReference {
		return &corev1.ObjectReference{Kind: "ImageStreamTag", Namespace: ns, Name: name}
	}
	config := func(last int64, noted map[string]string, triggers ...buildv1.BuildTriggerPolicy) *buildv1.BuildConfig {
		bc := &buildv1.BuildConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "p", Name: "bc"}}
		bc.Spec.Strategy.SourceStrategy = &buildv1.SourceBuildStrategy{From: *from("", "base:1")}
		bc.Spec.Triggers, bc.Status.LastVersion = triggers, last
		for name, image := range noted {
			bc.Status.ImageChangeTriggers = append(bc.Status.ImageChangeTriggers, buildv1.ImageChangeTriggerStatus{From: buildv1.ImageStreamTagReference{Namespace: "p", Name: name}, LastTriggeredImageID: image})
		}
		return bc
	}
	change := buildv1.BuildTriggerPolicy{Type: buildv1.ConfigChangeBuildTriggerType}
	image := buildv1.BuildTriggerPolicy{Type: buildv1.ImageChangeBuildTriggerType, ImageChange: &buildv1.ImageChangeTrigger{}}
	other := buildv1.BuildTriggerPolicy{Type: buildv1.ImageChangeBuildTriggerType, ImageChange: &buildv1.ImageChangeTrigger{From: from("", "other:1")}}
	halted := buildv1.BuildTriggerPolicy{Type: buildv1.ImageChangeBuildTriggerType, ImageChange: &buildv1.ImageChangeTrigger{Paused: true}}
	pausedConfig := config(0, nil, change)
	pausedConfig.Annotations = map[string]string{buildv1.BuildConfigPausedAnnotation: "true"}
	for name, c := range map[string]struct {
		bc     *buildv1.BuildConfig
		images []string
		causes string
	}{
		"no triggers":                        {config(0, nil), nil, ""},
		"new configuration":                  {config(0, nil, change), nil, "[Build configuration change]"},
		"a changed one does not fire":        {config(1, nil, change), nil, ""},
		"paused":                             {pausedConfig, nil, ""},
		"first build waits for its image":    {config(0, nil, change, image), []string{""}, ""},
		"first build, its image there":       {config(0, nil, change, image), []string{"i1"}, "[Build configuration change]"},
		"image alone fires the first":        {config(0, nil, image), []string{"i1"}, "[Image change i1]"},
		"same image":                         {config(1, map[string]string{"base:1": "i1"}, image), []string{"i1"}, ""},
		"new image":                          {config(1, map[string]string{"base:1": "i1"}, image), []string{"i2"}, "[Image change i2]"},
		"one of two is not there":            {config(1, map[string]string{"base:1": "i1"}, image, other), []string{"i2", ""}, "[Image change i2]"},
		"both moved":                         {config(1, nil, image, other), []string{"i1", "o1"}, "[Image change i1 Image change o1]"},
		"a paused trigger watches nothing":   {config(1, nil, halted), nil, ""},
		"the first build waits for them all": {config(0, nil, image, other), []string{"i1", ""}, ""},
	} {
		req, ok := Fire(c.bc, c.images)
		var causes []string
		for _, cause := range req.TriggeredBy {
			s := cause.Message
			if i := cause.ImageChangeBuild; i != nil {
				s += " " + i.ImageID
			}
			causes = append(causes, s)
		}
		if got := fmt.Sprint(causes); ok != (c.causes != "") || ok && got != c.causes {
			t.Errorf("%s: %v %s, want %q", name, ok, got, c.causes)
		}
	}
}

func TestNoteKeepsOneEntryForEachWatchedTag(t *testing.T) {
	bc := &buildv1.BuildConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "p"}}
	bc.Spec.Strategy.SourceStrategy = &buildv1.SourceBuildStrategy{From: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "base:1"}}
	bc.Spec.Triggers = []buildv1.BuildTriggerPolicy{{Type: buildv1.ImageChangeBuildTriggerType}}
	gone := buildv1.ImageStreamTagReference{Namespace: "p", Name: "gone:1"}
	base := buildv1.ImageStreamTagReference{Namespace: "p", Name: "base:1"}
	bc.Status.ImageChangeTriggers = []buildv1.ImageChangeTriggerStatus{{From: gone, LastTriggeredImageID: "x"}}
	for _, image := range []string{"i1", "", "i2", "i2"} {
		note(bc, []Fired{{base, image}}, metav1.Now())
	}
	if got := bc.Status.ImageChangeTriggers; len(got) != 1 || got[0].From != base || got[0].LastTriggeredImageID != "i2" {
		t.Errorf("%+v", got)
	}
}

func TestPickNode(t *testing.T) {
	node := func(name string, ready corev1.ConditionStatus, labels map[string]string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	cordoned := node("n0", corev1.ConditionTrue, nil)
	cordoned.Spec.Unschedulable = true
	joined := node("n00", corev1.ConditionTrue, map[string]string{"disk": "fast"})
	joined.Annotations = map[string]string{api.NodeBuilds: "false"}
	nodes := []corev1.Node{cordoned, joined, node("n1", corev1.ConditionTrue, nil), node("n2", corev1.ConditionTrue, map[string]string{"disk": "fast"}), node("n3", corev1.ConditionFalse, nil)}
	var busy []buildv1.Build
	for _, b := range builds("1:S:Running 2:S:New") {
		busy = append(busy, *b)
	}
	for name, c := range map[string]struct {
		selector map[string]string
		nodes    []corev1.Node
		builds   []buildv1.Build
		want     string
	}{
		"by name":     {nil, nodes, nil, "n1"},
		"least busy":  {nil, nodes, busy, "n2"},
		"selector":    {map[string]string{"disk": "fast"}, nodes, nil, "n2"},
		"none fits":   {map[string]string{"disk": "slow"}, nodes, nil, ""},
		"none ready":  {nil, nodes[4:], nil, ""},
		"none at all": {nil, nil, nil, ""},
	} {
		b := &buildv1.Build{}
		b.Spec.NodeSelector = c.selector
		if got := pickNode(b, c.nodes, c.builds); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNewBuild(t *testing.T) {
	bc := &buildv1.BuildConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "p", Name: strings.Repeat("n", 62) + ".config", UID: "u", Labels: map[string]string{"app": "shop", "application.slipway.dev/name": "x"}}}
	bc.Spec.RunPolicy, bc.Status.LastVersion = buildv1.BuildRunPolicyParallel, 6
	bc.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{Env: []corev1.EnvVar{{Name: "A", Value: "1"}}}
	yes := true
	req := Request{BuildRequest: buildv1.BuildRequest{
		Env:                   []corev1.EnvVar{{Name: "B", Value: "2"}},
		DockerStrategyOptions: &buildv1.DockerStrategyOptions{BuildArgs: []corev1.EnvVar{{Name: "C"}}, NoCache: &yes},
	}}
	b := newBuild(bc, req)
	if b.Name != bc.Name+"-7" || b.Annotations[buildv1.BuildNumberAnnotation] != "7" || b.Annotations[buildv1.BuildConfigAnnotation] != bc.Name || !metav1.IsControlledBy(b, bc) {
		t.Errorf("%+v", b.ObjectMeta)
	}
	l := b.Labels
	if l["app"] != "shop" || l["application.slipway.dev/name"] != "" || l[buildv1.BuildRunPolicyLabel] != "Parallel" || l[buildv1.BuildConfigLabel] != strings.Repeat("n", 62) || l[buildv1.BuildConfigLabelDeprecated] != l[buildv1.BuildConfigLabel] {
		t.Errorf("labels %v", l)
	}
	d := b.Spec.Strategy.DockerStrategy
	if len(d.Env) != 2 || len(d.BuildArgs) != 1 || !d.NoCache || len(bc.Spec.Strategy.DockerStrategy.Env) != 1 {
		t.Errorf("strategy %+v", d)
	}
	if configName(b) != bc.Name || slices.Contains([]int64{number(b)}, 0) {
		t.Error(configName(b), number(b))
	}
}
