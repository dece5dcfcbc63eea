package build

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// firedAnnotation keeps, as JSON, the images that a build's configuration is noted to
// have fired for.
const firedAnnotation = "slipway.dev/triggered-images"

// newBuild is the Build that follows a configuration's last version.
func newBuild(bc *buildv1.BuildConfig, req Request) *buildv1.Build {
	number := strconv.FormatInt(bc.Status.LastVersion+1, 10)
	b := &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: bc.Namespace, Name: bc.Name + "-" + number, Labels: newLabels(bc),
			Annotations: map[string]string{
				buildv1.BuildNumberAnnotation: number,
				buildv1.BuildConfigAnnotation: bc.Name,
			},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(bc, buildv1.GroupVersion.WithKind("BuildConfig"))},
		},
		Spec: buildv1.BuildSpec{CommonSpec: *bc.Spec.CommonSpec.DeepCopy(), TriggeredBy: req.TriggeredBy},
		Status: buildv1.BuildStatus{
			Phase:  buildv1.BuildPhaseNew,
			Config: &corev1.ObjectReference{Kind: "BuildConfig", Namespace: bc.Namespace, Name: bc.Name},
		},
	}
	if list := resolved(req.Fired); len(list) > 0 {
		data, _ := json.Marshal(list) // plain strings
		b.Annotations[firedAnnotation] = string(data)
	}
	if req.Revision != nil {
		b.Spec.Revision = req.Revision.DeepCopy()
	}
	addOptions(&b.Spec.Strategy, &req.BuildRequest)
	return b
}

// newLabels are the configuration's, without those that say which application owns it,
// and OpenShift's.
func newLabels(bc *buildv1.BuildConfig) map[string]string {
	labels := maps.Clone(bc.Labels)
	maps.DeleteFunc(labels, func(k, _ string) bool { return strings.HasPrefix(k, "application.slipway.dev/") })
	if labels == nil {
		labels = map[string]string{}
	}
	labels[buildv1.BuildConfigLabelDeprecated] = labelValue(bc.Name)
	labels[buildv1.BuildConfigLabel] = labelValue(bc.Name)
	labels[buildv1.BuildRunPolicyLabel] = string(bc.Spec.RunPolicy)
	return labels
}

// labelValue is as much of a name as a label may hold.
func labelValue(name string) string {
	if len(name) <= validation.LabelValueMaxLength {
		return name
	}
	return strings.TrimRight(name[:validation.LabelValueMaxLength], "-._")
}

// firedBy is what newBuild noted of a request's triggers.
func firedBy(b *buildv1.Build) ([]Fired, error) {
	data := b.Annotations[firedAnnotation]
	if data == "" {
		return nil, nil
	}
	var list []Fired
	if err := json.Unmarshal([]byte(data), &list); err != nil {
		return nil, fmt.Errorf("build %s/%s: annotation %s: %w", b.Namespace, b.Name, firedAnnotation, err)
	}
	return list, nil
}

// addOptions puts what a request asks for beside what the configuration says: of two
// variables of one name the later counts.
func addOptions(s *buildv1.BuildStrategy, req *buildv1.BuildRequest) {
	switch {
	case s.SourceStrategy != nil:
		s.SourceStrategy.Env = append(s.SourceStrategy.Env, req.Env...)
		if o := req.SourceStrategyOptions; o != nil && o.Incremental != nil {
			s.SourceStrategy.Incremental = o.Incremental
		}
	case s.DockerStrategy != nil:
		s.DockerStrategy.Env = append(s.DockerStrategy.Env, req.Env...)
		if o := req.DockerStrategyOptions; o != nil {
			s.DockerStrategy.BuildArgs = append(s.DockerStrategy.BuildArgs, o.BuildArgs...)
			if o.NoCache != nil {
				s.DockerStrategy.NoCache = *o.NoCache
			}
		}
	case s.CustomStrategy != nil:
		s.CustomStrategy.Env = append(s.CustomStrategy.Env, req.Env...)
	}
}
