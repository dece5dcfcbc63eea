package build

import (
	"fmt"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fired is an image trigger's tag and the image it names now.
type Fired struct {
	From  buildv1.ImageStreamTagReference
	Image string
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
		if ref == nil || ref.Kind != "ImageStreamTag" {
			continue
		}
		r := *ref
		if r.Namespace == "" {
			r.Namespace = bc.Namespace
		}
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

// Fire decides whether a configuration's own triggers start a build now. images holds
// what each image trigger's tag names, in the order of imageTriggers; empty: nothing yet.
//
// A configuration change fires only for the first build, as in OpenShift, and waits for
// the images. What fired last is kept in the status rather than in the spec, where git
// would undo it.
func Fire(bc *buildv1.BuildConfig, images []string) (Request, bool) {
	if paused(bc) || slices.Contains(images, "") {
		return Request{}, false
	}
	var req Request
	moved := ""
	for i, ref := range imageTriggers(bc) {
		f := Fired{From: buildv1.ImageStreamTagReference{Namespace: ref.Namespace, Name: ref.Name}, Image: images[i]}
		if lastFired(bc, f.From) != f.Image {
			moved = ref.Name
			req.Causes = append(req.Causes, buildv1.BuildTriggerCause{
				Message:          "image " + ref.Name + " changed",
				ImageChangeBuild: &buildv1.ImageChangeCause{ImageID: f.Image, FromRef: &ref},
			})
		}
		req.Fired = append(req.Fired, f)
	}
	first := bc.Status.LastVersion == 0 && slices.ContainsFunc(bc.Spec.Triggers, func(t buildv1.BuildTriggerPolicy) bool {
		return t.Type == buildv1.ConfigChangeBuildTriggerType
	})
	if first {
		req.Causes = []buildv1.BuildTriggerCause{{Message: "the configuration is new"}}
	}
	return req, first || moved != ""
}

func lastFired(bc *buildv1.BuildConfig, from buildv1.ImageStreamTagReference) string {
	for _, t := range bc.Status.ImageChangeTriggers {
		if t.From == from {
			return t.LastTriggeredImageID
		}
	}
	return ""
}

// note writes down what fired.
func note(bc *buildv1.BuildConfig, fired []Fired, now metav1.Time) {
	for _, f := range fired {
		status := buildv1.ImageChangeTriggerStatus{From: f.From, LastTriggeredImageID: f.Image, LastTriggerTime: now}
		i := slices.IndexFunc(bc.Status.ImageChangeTriggers, func(t buildv1.ImageChangeTriggerStatus) bool { return t.From == f.From })
		switch {
		case i < 0:
			bc.Status.ImageChangeTriggers = append(bc.Status.ImageChangeTriggers, status)
		case bc.Status.ImageChangeTriggers[i].LastTriggeredImageID != f.Image:
			bc.Status.ImageChangeTriggers[i] = status
		}
	}
}

// streamKey is the `project/stream` part of a tag reference.
func streamKey(ref corev1.ObjectReference) string {
	name, _, _ := strings.Cut(ref.Name, ":")
	return fmt.Sprintf("%s/%s", ref.Namespace, name)
}
