package image

import (
	"slices"
	"time"

	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// historyLimit bounds the events kept for a tag. Images that fell out of a history
// are still there by their own names.
const historyLimit = 100

func tagOf(s *imagev1.ImageStreamStatus, tag string) *imagev1.NamedTagEventList {
	i := slices.IndexFunc(s.Tags, func(t imagev1.NamedTagEventList) bool { return t.Tag == tag })
	if i < 0 {
		s.Tags = append(s.Tags, imagev1.NamedTagEventList{Tag: tag})
		i = len(s.Tags) - 1
	}
	return &s.Tags[i]
}

// addEvent makes an event a tag's newest. The same reference and image as before
// collapse into the event that is there; either way no failure is left standing.
func addEvent(s *imagev1.ImageStreamStatus, tag string, e imagev1.TagEvent) {
	list := tagOf(s, tag)
	list.Conditions = nil
	if len(list.Items) > 0 && list.Items[0].DockerImageReference == e.DockerImageReference && list.Items[0].Image == e.Image {
		list.Items[0].Generation = max(e.Generation, list.Items[0].Generation)
		return
	}
	list.Items = slices.Insert(list.Items, 0, e)
	list.Items = list.Items[:min(len(list.Items), historyLimit)]
}

// addFailure says that a tag could not be resolved; what it pointed at stays. The same
// failure as before keeps its time.
func addFailure(s *imagev1.ImageStreamStatus, tag string, generation int64, reason, message string, now time.Time) {
	list := tagOf(s, tag)
	c := imagev1.TagEventCondition{
		Type: imagev1.ImportSuccess, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(now),
		Reason: reason, Message: message, Generation: generation,
	}
	if len(list.Conditions) == 1 {
		if old := list.Conditions[0]; old.Type == c.Type && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	list.Conditions = []imagev1.TagEventCondition{c}
}

// eventOf finds an image in the history of any tag, newest first.
func eventOf(s *imagev1.ImageStream, image string) (imagev1.TagEvent, bool) {
	for _, t := range s.Status.Tags {
		for _, e := range t.Items {
			if e.Image == image {
				return e, true
			}
		}
	}
	return imagev1.TagEvent{}, false
}
