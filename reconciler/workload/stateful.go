package workload

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/reconciler/pods"
)

// Version is a template that a set's pods are made from, under its revision's name.
type Version struct {
	Name     string
	Template *corev1.PodTemplateSpec
}

// Stateful is what there is of a StatefulSet, at one moment.
type Stateful struct {
	Set *appsv1.StatefulSet
	// Pods are those that the set owns.
	Pods []*corev1.Pod
	// Current is what pods below an update's partition run, Update what the set says now.
	Current, Update Version
	Now             time.Time
}

// StatefulChange is what a StatefulSet's state asks for; the zero value: nothing but to wait.
type StatefulChange struct {
	// Create lists pods to make, after their claims.
	Create []*corev1.Pod
	// Delete lists pods to delete.
	Delete []*corev1.Pod
	// After says in how long time alone may change the answer; 0: never.
	After time.Duration
}

// slots are a set's pods by their place.
type slots struct {
	// start is the first ordinal.
	start int
	// wanted pods by ordinal, from start on; nil: there is none yet.
	wanted []*corev1.Pod
	// condemned pods have an ordinal that is none of the set's; the highest first.
	condemned []*corev1.Pod
}

func (s Stateful) slots() slots {
	out := slots{wanted: make([]*corev1.Pod, number(s.Set.Spec.Replicas))}
	if o := s.Set.Spec.Ordinals; o != nil {
		out.start = int(o.Start)
	}
	for _, p := range s.Pods {
		switch at := ordinal(s.Set, p); {
		case at < 0:
		case at >= out.start && at < out.start+len(out.wanted):
			out.wanted[at-out.start] = p
		default:
			out.condemned = append(out.condemned, p)
		}
	}
	slices.SortFunc(out.condemned, func(a, b *corev1.Pod) int { return cmp.Compare(ordinal(s.Set, b), ordinal(s.Set, a)) })
	return out
}

// ordinal reads a pod's number from its name; -1 for a name that is none of the set's.
func ordinal(set *appsv1.StatefulSet, p *corev1.Pod) int {
	text, ok := strings.CutPrefix(p.Name, set.Name+"-")
	n, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return -1
	}
	return int(n)
}

// DecideStateful says what a StatefulSet needs next. With OrderedReady it is one pod at a
// time, in the order of their numbers, each only when those before it run; with Parallel
// all at once. It is a pure function of what is there.
func DecideStateful(s Stateful) StatefulChange {
	var out StatefulChange
	if s.Set.DeletionTimestamp != nil {
		return out
	}
	at := s.slots()
	first := s.firstUnavailable(at)
	for i, p := range at.wanted {
		if s.fill(&out, at.start+i, p) {
			return out
		}
	}
	for _, p := range at.condemned {
		left, ready := pods.AvailableIn(p, s.Set.Spec.MinReadySeconds, s.Now)
		switch {
		case pods.Leaving(p):
			if !s.parallel() {
				return out
			}
			continue
		case !s.parallel() && !ready && p != first:
			return out
		case !s.parallel() && left > 0 && p != first:
			out.After = pods.Sooner(out.After, left)
			return out
		}
		out.Delete = append(out.Delete, p)
		if !s.parallel() {
			return out
		}
	}
	s.update(&out, at)
	return out
}

func (s Stateful) parallel() bool {
	return s.Set.Spec.PodManagementPolicy == appsv1.ParallelPodManagement
}

// fill sees to one place, and says whether the places after it have to wait.
func (s Stateful) fill(out *StatefulChange, number int, p *corev1.Pod) (wait bool) {
	ordered := !s.parallel()
	if p == nil {
		out.Create = append(out.Create, s.pod(number))
		return ordered
	}
	if pods.Leaving(p) {
		return ordered
	}
	if pods.Over(p) || s.beyondHope(number, p) {
		out.Delete = append(out.Delete, p)
		return ordered
	}
	left, ready := pods.AvailableIn(p, s.Set.Spec.MinReadySeconds, s.Now)
	if left > 0 {
		out.After = pods.Sooner(out.After, left)
	}
	return ordered && (!ready || p.Status.Phase != corev1.PodRunning || left > 0)
}

// hopeless are reasons for which a container waits that time alone rarely ends.
var hopeless = []string{
	"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}

// beyondHope says that a pod cannot start and is of a template that is not to run any more.
// Kubernetes waits for such a pod until somebody deletes it by hand; where git is the only
// way in, the commit that mends the template has to be enough.
func (s Stateful) beyondHope(number int, p *corev1.Pod) bool {
	if !s.rolls() || number < s.partition() || revisionOfPod(p) == s.Update.Name || pods.Ready(p) {
		return false
	}
	return slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), func(c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && slices.Contains(hopeless, c.State.Waiting.Reason)
	})
}

// update takes away pods of another revision, the highest number first, as long as no more
// than maxUnavailable are missing. One that is not available anyway costs nothing.
func (s Stateful) update(out *StatefulChange, at slots) {
	if !s.rolls() || len(out.Create)+len(out.Delete) > 0 {
		return
	}
	u := s.Set.Spec.UpdateStrategy.RollingUpdate
	spare := int32(1)
	if u != nil && u.MaxUnavailable != nil {
		spare = max(scaledValue(u.MaxUnavailable, int32(len(at.wanted)), false), 1)
	}
	available := func(p *corev1.Pod) bool {
		return p != nil && pods.Live(p) && pods.Available(p, s.Set.Spec.MinReadySeconds, s.Now)
	}
	for _, p := range at.wanted {
		if !available(p) {
			spare--
		}
	}
	for i, p := range slices.Backward(at.wanted) {
		if at.start+i < s.partition() || p == nil || pods.Leaving(p) || revisionOfPod(p) == s.Update.Name {
			continue
		}
		if available(p) {
			if spare <= 0 {
				continue
			}
			spare--
		}
		out.Delete = append(out.Delete, p)
	}
}

func (s Stateful) rolls() bool {
	return s.Set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType
}

// partition is the lowest number that an update reaches.
func (s Stateful) partition() int {
	n := 0
	if o := s.Set.Spec.Ordinals; o != nil {
		n = int(o.Start)
	}
	if u := s.Set.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		n += int(*u.Partition)
	}
	return n
}

// firstUnavailable is the pod with the lowest number that is not available: it is waited
// for, and may itself be deleted. nil: all are.
func (s Stateful) firstUnavailable(at slots) *corev1.Pod {
	for _, p := range slices.Concat(at.wanted, reversed(at.condemned)) {
		if p != nil && (!pods.Live(p) || !pods.Available(p, s.Set.Spec.MinReadySeconds, s.Now)) {
			return p
		}
	}
	return nil
}

func reversed(all []*corev1.Pod) []*corev1.Pod {
	out := slices.Clone(all)
	slices.Reverse(out)
	return out
}

func revisionOfPod(p *corev1.Pod) string { return p.Labels[appsv1.ControllerRevisionHashLabelKey] }

// StatefulStatus counts a set's pods. When all are of the newest revision and ready, that
// becomes the current one.
func StatefulStatus(s Stateful) appsv1.StatefulSetStatus {
	out := *s.Set.Status.DeepCopy()
	out.ObservedGeneration = s.Set.Generation
	out.CurrentRevision, out.UpdateRevision = s.Current.Name, s.Update.Name
	out.Replicas, out.ReadyReplicas, out.AvailableReplicas, out.CurrentReplicas, out.UpdatedReplicas = 0, 0, 0, 0, 0
	for _, p := range s.Pods {
		if ordinal(s.Set, p) < 0 {
			continue
		}
		out.Replicas++
		if p.Status.Phase == corev1.PodRunning && pods.Ready(p) {
			out.ReadyReplicas++
			if pods.Available(p, s.Set.Spec.MinReadySeconds, s.Now) {
				out.AvailableReplicas++
			}
		}
		if pods.Leaving(p) {
			continue
		}
		if revisionOfPod(p) == s.Current.Name {
			out.CurrentReplicas++
		}
		if revisionOfPod(p) == s.Update.Name {
			out.UpdatedReplicas++
		}
	}
	want := number(s.Set.Spec.Replicas)
	if s.rolls() && out.UpdatedReplicas == want && out.ReadyReplicas == want && out.Replicas == want {
		out.CurrentRevision, out.CurrentReplicas = out.UpdateRevision, out.UpdatedReplicas
	}
	return out
}
