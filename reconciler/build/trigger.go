package build

import (
	"cmp"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fired is an image trigger's tag and the image it names now; empty: none yet.
type Fired struct {
	From  buildv1.ImageStreamTagReference `json:"from"`
	Image string                          `json:"image"`
}

// imageTriggers lists the tags that a configuration's image triggers watch. A trigger
// without a reference of its own watches the strategy's image.
func imageTriggers(bc *buildv1.BuildConfig) []corev1.ObjectReference {
	var out []corev1.ObjectReference
	for _, t := range bc.Spec.Triggers {
		if t.Type != buildv1.ImageChangeBuildTriggerType || (t.ImageChange != nil && t.ImageChange.Paused) {
			continue
		}
		ref := strategyFrom(bc.Spec.Strategy)
		if t.ImageChange != nil && t.ImageChange.From != nil {
			ref = t.ImageChange.From
		}
		if ref == nil || ref.Kind != kindTag {
			continue
		}
		r := *ref
		r.Namespace = cmp.Or(r.Namespace, bc.Namespace)
		out = append(out, r)
	}
	return out
}

func strategyFrom(s buildv1.BuildStrategy) *corev1.ObjectReference {
	switch {
	case s.SourceStrategy != nil:
		return &s.SourceStrategy.From
	case s.DockerStrategy != nil:
		return s.DockerStrategy.From
	case s.CustomStrategy != nil:
		return &s.CustomStrategy.From
	}
	return nil
}

// fired pairs a configuration's image triggers with the images their tags name.
func fired(bc *buildv1.BuildConfig, images []string) []Fired {
	var out []Fired
	for i, ref := range imageTriggers(bc) {
		out = append(out, Fired{From: buildv1.ImageStreamTagReference{Namespace: ref.Namespace, Name: ref.Name}, Image: images[i]})
	}
	return out
}

func resolved(list []Fired) []Fired {
	return slices.DeleteFunc(slices.Clone(list), func(f Fired) bool { return f.Image == "" })
}

// Fire decides whether a configuration's own triggers start a build now. images holds
// what each image trigger's tag names, in the order of imageTriggers; empty: nothing yet.
//
// A configuration change fires only for the first build, as in OpenShift; the first
// build waits for all the images. What fired last is kept in the status rather than in
// the spec, where git would undo it.
func Fire(bc *buildv1.BuildConfig, images []string) (Request, bool) {
	first := bc.Status.LastVersion == 0
	if paused(bc) || bc.DeletionTimestamp != nil || first && slices.Contains(images, "") {
		return Request{}, false
	}
	req := Request{Fired: fired(bc, images)}
	if first && slices.ContainsFunc(bc.Spec.Triggers, func(t buildv1.BuildTriggerPolicy) bool {
		return t.Type == buildv1.ConfigChangeBuildTriggerType
	}) {
		req.TriggeredBy = []buildv1.BuildTriggerCause{{Message: "Build configuration change"}}
		return req, true
	}
	for _, f := range resolved(req.Fired) {
		if lastFired(bc, f.From) != f.Image {
			req.TriggeredBy = append(req.TriggeredBy, buildv1.BuildTriggerCause{
				Message: "Image change",
				ImageChangeBuild: &buildv1.ImageChangeCause{
					ImageID: f.Image,
					FromRef: &corev1.ObjectReference{Kind: kindTag, Namespace: f.From.Namespace, Name: f.From.Name},
				},
			})
		}
	}
	return req, len(req.TriggeredBy) > 0
}

func lastFired(bc *buildv1.BuildConfig, from buildv1.ImageStreamTagReference) string {
	for _, t := range bc.Status.ImageChangeTriggers {
		if t.From == from {
			return t.LastTriggeredImageID
		}
	}
	return ""
}

// note writes down what fired, and forgets the tags that no trigger watches any more.
func note(bc *buildv1.BuildConfig, list []Fired, now metav1.Time) {
	for _, f := range resolved(list) {
		status := buildv1.ImageChangeTriggerStatus{From: f.From, LastTriggeredImageID: f.Image, LastTriggerTime: now}
		i := slices.IndexFunc(bc.Status.ImageChangeTriggers, func(t buildv1.ImageChangeTriggerStatus) bool { return t.From == f.From })
		switch {
		case i < 0:
			bc.Status.ImageChangeTriggers = append(bc.Status.ImageChangeTriggers, status)
		case bc.Status.ImageChangeTriggers[i].LastTriggeredImageID != f.Image:
			bc.Status.ImageChangeTriggers[i] = status
		}
	}
	watched := imageTriggers(bc)
	bc.Status.ImageChangeTriggers = slices.DeleteFunc(bc.Status.ImageChangeTriggers, func(t buildv1.ImageChangeTriggerStatus) bool {
		return !slices.ContainsFunc(watched, func(r corev1.ObjectReference) bool {
			return r.Namespace == t.From.Namespace && r.Name == t.From.Name
		})
	})
}
