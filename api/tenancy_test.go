package api

import (
	"strings"
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api/v1alpha1"
)

func TestTenancy(t *testing.T) {
	t.Parallel()
	at := func(ns string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: "x"} }
	app := func(ns string, s v1alpha1.ApplicationSpec) runtime.Object {
		return &v1alpha1.Application{ObjectMeta: at(ns), Spec: s}
	}
	repo := func(ns, url string) runtime.Object {
		return &v1alpha1.GitRepository{ObjectMeta: at(ns), Spec: v1alpha1.GitRepositorySpec{URL: url}}
	}
	promotion := func(on, write, path string) runtime.Object {
		return &v1alpha1.Promotion{ObjectMeta: at("team"), Spec: v1alpha1.PromotionSpec{
			On:    v1alpha1.PromotionTrigger{SourceRef: v1alpha1.SourceReference{Name: "a", Namespace: on}},
			Write: v1alpha1.PromotionWrite{SourceRef: v1alpha1.SourceReference{Name: "a", Namespace: write}, Path: path},
		}}
	}
	build := func(ns string) runtime.Object {
		bc := &buildv1.BuildConfig{ObjectMeta: at("team")}
		bc.Spec.Output.To = &corev1.ObjectReference{Kind: "ImageStreamTag", Namespace: ns, Name: "a:b"}
		return bc
	}
	hook := func(ns string) runtime.Object {
		dc := &appsv1.DeploymentConfig{ObjectMeta: at("team")}
		dc.Spec.Strategy.RecreateParams = &appsv1.RecreateDeploymentStrategyParams{Mid: &appsv1.LifecycleHook{
			TagImages: []appsv1.TagImageHook{{To: corev1.ObjectReference{Namespace: ns, Name: "a:b"}}},
		}}
		return dc
	}
	own := v1alpha1.SourceReference{Name: "a", Namespace: "team"}
	admin := v1alpha1.SourceReference{Name: "root", Namespace: SystemProject}
	for name, c := range map[string]struct {
		obj  runtime.Object
		want string
	}{
		"administrator's application":   {app(SystemProject, v1alpha1.ApplicationSpec{SourceRef: admin}), ""},
		"own application":               {app("team", v1alpha1.ApplicationSpec{SourceRef: own, Project: "team"}), ""},
		"cluster-wide application":      {app("team", v1alpha1.ApplicationSpec{SourceRef: own}), "spec.project"},
		"application for another":       {app("team", v1alpha1.ApplicationSpec{SourceRef: own, Project: "other"}), "spec.project"},
		"application of others' source": {app("team", v1alpha1.ApplicationSpec{SourceRef: admin, Project: "team"}), "spec.sourceRef.namespace"},
		"administrator's folder":        {repo(SystemProject, "file:///srv/git/x"), ""},
		"own repository":                {repo("team", "https://example.com/x"), ""},
		"folder of the host":            {repo("team", "File:///srv/git/x"), "spec.url"},
		"promotion to own lock":         {promotion(SystemProject, SystemProject, "home/projects/team/images.lock.json"), ""},
		"promotion to own repository":   {promotion("team", "team", "anything.json"), ""},
		"promotion to another's lock":   {promotion("team", SystemProject, "projects/other/images.lock.json"), "spec.write.path"},
		"promotion to a look-alike":     {promotion("team", SystemProject, "xprojects/team/images.lock.json"), "spec.write.path"},
		"promotion to another's repo":   {promotion("team", "other", "a.json"), "spec.write.sourceRef.namespace"},
		"promotion by another's tags":   {promotion("other", "team", "a.json"), "spec.on.sourceRef.namespace"},
		"build for itself":              {build("team"), ""},
		"build for whoever it is in":    {build(""), ""},
		"build for another":             {build("other"), "spec.output.to.namespace"},
		"hook that tags its own":        {hook(""), ""},
		"hook that tags another's":      {hook("other"), "spec.strategy.recreateParams.mid.tagImages[0].to.namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fields []string
			for _, e := range validateTenancy(c.obj) {
				fields = append(fields, e.Field)
			}
			if got := strings.Join(fields, " "); got != c.want {
				t.Errorf("refused fields %q, want %q", got, c.want)
			}
			for _, f := range fields {
				found := false
				for _, e := range Validate(c.obj) {
					found = found || e.Field == f
				}
				if !found {
					t.Errorf("Validate does not refuse %s", f)
				}
			}
		})
	}
}
