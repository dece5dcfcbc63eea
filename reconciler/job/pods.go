package job

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"slipway.dev/slipway/api"
)

func leaving(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }

// ended: nothing of the pod runs any more. One that is being deleted has ended where no node
// knows it, or its node has let it go.
func ended(p *corev1.Pod) bool {
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return true
	}
	grace := p.DeletionGracePeriodSeconds
	return leaving(p) && (p.Spec.NodeName == "" || grace != nil && *grace == 0)
}

func active(p *corev1.Pod) bool { return !ended(p) && !leaving(p) }

func succeeded(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded }

// tracked: the pod has not been counted yet.
func tracked(p *corev1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// indexOf is a pod's completion index; false: it has none.
func indexOf(p *corev1.Pod) (int, bool) {
	i, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	return i, err == nil && i >= 0
}

// endedAt is when the last container of a pod ended.
func endedAt(p *corev1.Pod) time.Time {
	var last time.Time
	for _, s := range p.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	switch {
	case !last.IsZero():
		return last
	case leaving(p):
		return p.DeletionTimestamp.Time
	}
	return p.CreationTimestamp.Time
}

// restarts is how often the containers of a pod were started again.
func restarts(p *corev1.Pod) int32 {
	n := int32(0)
	for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		n += s.RestartCount
	}
	return n
}

// byWorth sorts pods, the first to delete in front: without a node before with one, not ready
// before ready, then the youngest.
func byWorth(pods []*corev1.Pod) {
	truth := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(
			cmp.Compare(truth(a.Spec.NodeName != ""), truth(b.Spec.NodeName != "")),
			cmp.Compare(truth(ready(a)), truth(ready(b))),
			api.Older(b, a),
		)
	})
}

// slot is a pod to make: its name and, for an Indexed Job, its index; else -1.
type slot struct {
	name  string
	index int
}

// slotFor finds the first name for a pod that is not taken.
func slotFor(j *batchv1.Job, index int, taken map[string]bool) slot {
	for n := uint64(0); ; n++ {
		if name := podName(j, index, n); !taken[name] {
			taken[name] = true
			return slot{name, index}
		}
	}
}

func podName(j *batchv1.Job, index int, n uint64) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s/%d/%d", j.UID, index, n)
	suffix := rand.SafeEncodeString(strconv.FormatUint(binary.BigEndian.Uint64(h.Sum(nil)), 10))[:5]
	if index < 0 {
		return j.Name + "-" + suffix
	}
	return fmt.Sprintf("%s-%d-%s", j.Name, index, suffix)
}

func newPod(j *batchv1.Job, s slot) *corev1.Pod {
	t := j.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: j.Namespace, Name: s.name, GenerateName: j.Name + "-",
			Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations),
			Finalizers:      append(slices.Clone(t.Finalizers), batchv1.JobTrackingFinalizer),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: t.Spec,
	}
	if s.index >= 0 {
		number(j, pod, s.index)
	}
	return pod
}

// number tells a pod of an Indexed Job its index: by annotation, label, host name and variable.
func number(j *batchv1.Job, pod *corev1.Pod, index int) {
	i := strconv.Itoa(index)
	pod.GenerateName = j.Name + "-" + i + "-"
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[batchv1.JobCompletionIndexAnnotation] = i
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[batchv1.JobCompletionIndexAnnotation] = i
	if pod.Spec.Hostname == "" {
		pod.Spec.Hostname = j.Name + "-" + i
	}
	variable := corev1.EnvVar{Name: "JOB_COMPLETION_INDEX", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
		APIVersion: "v1", FieldPath: "metadata.annotations['" + batchv1.JobCompletionIndexAnnotation + "']",
	}}}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for k := range containers {
			if !slices.ContainsFunc(containers[k].Env, func(e corev1.EnvVar) bool { return e.Name == variable.Name }) {
				containers[k].Env = append(containers[k].Env, variable)
			}
		}
	}
}
