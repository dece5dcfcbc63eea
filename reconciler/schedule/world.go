package schedule

import (
	"cmp"
	"strconv"
	"strings"
	"sync"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// world is all that decisions are made from. Its methods want mu held, those of observers take it.
type world struct {
	mu sync.Mutex
	// open kinds are those of which nothing is missed.
	open map[string]bool

	hosts map[string]*host
	// order are the hosts that have a Node, by name.
	order       []*host
	pods        map[types.UID]*placed
	inNamespace map[string]map[types.UID]*placed
	// listed is the revision of the last list of pods.
	listed   int64
	counters *counters
	held     map[string]*held
	// using counts the pods on nodes that have a claim.
	using map[loop.Key]int

	services *services
	claims   map[loop.Key]*corev1.PersistentVolumeClaim
	volumes  map[string]*corev1.PersistentVolume
	projects map[string]*projectv1.Project
	// relabelled: projects have changed since the terms of placed pods were read.
	relabelled bool
	classes    map[string]*schedulingv1.PriorityClass
	// defaultClass is that of pods that name none; nil: there is none.
	defaultClass *schedulingv1.PriorityClass
	// config is the scheduler's ConfigMap; nil: there is none.
	config *corev1.ConfigMap
	policy *policy

	queue *queue
	// refusals are the last of each controller's pods. changes counts what could alter a decision, helps
	// what could make a pod fit that does not.
	refusals       map[types.UID]*refusal
	changes, helps int64

	followers []follower
}

func newWorld() *world {
	w := &world{
		open: map[string]bool{}, hosts: map[string]*host{}, pods: map[types.UID]*placed{}, inNamespace: map[string]map[types.UID]*placed{},
		counters: newCounters(), held: map[string]*held{}, services: newServices(), claims: map[loop.Key]*corev1.PersistentVolumeClaim{},
		volumes: map[string]*corev1.PersistentVolume{}, projects: map[string]*projectv1.Project{}, classes: map[string]*schedulingv1.PriorityClass{},
		using: map[loop.Key]int{}, queue: newQueue(), refusals: map[types.UID]*refusal{},
	}
	w.policy = compile(nil)
	w.followers = w.kinds()
	return w
}

// kinds are what the world follows.
func (w *world) kinds() []follower {
	return []follower{
		{w, "pods", &corev1.PodList{}, w.listPods, w.sawPod},
		{w, "nodes", &corev1.NodeList{}, w.listNodes, w.sawNode},
		{w, "services", &corev1.ServiceList{}, func([]client.Object) { w.services.clear() }, w.services.saw},
		{w, "claims", &corev1.PersistentVolumeClaimList{}, func([]client.Object) { clear(w.claims) }, w.sawClaim},
		{w, "volumes", &corev1.PersistentVolumeList{}, func([]client.Object) { clear(w.volumes) }, w.sawVolume},
		{w, "projects", &projectv1.ProjectList{}, func([]client.Object) { clear(w.projects) }, w.sawProject},
		{w, "classes", &schedulingv1.PriorityClassList{}, func([]client.Object) { clear(w.classes) }, w.sawClass},
		{w, "config", &corev1.ConfigMapList{}, func([]client.Object) { w.configure(nil) }, w.sawConfig},
	}
}

// follower is the observer of one kind. begin forgets what was known before a list, but for what saw
// is told right after.
type follower struct {
	w     *world
	name  string
	list  client.ObjectList
	begin func(listed []client.Object)
	saw   func(watch.EventType, client.Object)
}

// Listed implements loop.Observer.
func (f follower) Listed(objects []client.Object, resourceVersion string) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.name == "pods" {
		f.w.listed = version(resourceVersion)
	}
	f.w.changed(false)
	f.begin(objects)
	for _, o := range objects {
		f.saw(watch.Added, o)
	}
	f.w.open[f.name] = true
	f.w.queue.wake(whyAny)
}

// Saw implements loop.Observer.
func (f follower) Saw(event watch.EventType, o client.Object) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.name != "pods" && f.name != "nodes" {
		f.w.changed(false)
	}
	f.saw(event, o)
}

// Lost implements loop.Observer.
func (f follower) Lost() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.open[f.name] = false
}

// complete says that every kind is known and followed.
func (w *world) complete() bool {
	for i := range w.followers {
		if !w.open[w.followers[i].name] {
			return false
		}
	}
	return true
}

func version(resourceVersion string) int64 {
	v, _ := strconv.ParseInt(resourceVersion, 10, 64)
	return v
}

// ended pods no longer use anything.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// listPods forgets the pods that a list does not have, but for those whose binding is under way, or
// was written after the list was read.
func (w *world) listPods(objects []client.Object) {
	there := make(map[types.UID]bool, len(objects))
	for _, o := range objects {
		there[o.GetUID()] = true
	}
	for uid, p := range w.pods {
		if !there[uid] && (!p.booked || p.version != 0 && p.version <= w.listed) {
			w.remove(p)
		}
	}
	w.queue.keep(there)
}

func (w *world) sawPod(event watch.EventType, o client.Object) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	have := w.pods[pod.UID]
	switch {
	case event == watch.Deleted, ended(pod):
		w.queue.remove(pod.UID)
		if have != nil {
			w.remove(have)
			w.freed(have)
		}
	case pod.Spec.NodeName != "":
		w.queue.remove(pod.UID)
		w.bound(pod, have)
	case pod.DeletionTimestamp != nil:
		w.queue.remove(pod.UID)
	case have != nil:
		// It is booked, and this event is older than that, or says something else.
		w.queue.note(pod)
	default:
		w.queue.add(pod, w.priority(pod))
	}
}

// bound keeps what is known of a pod on a node up to date.
func (w *world) bound(pod *corev1.Pod, have *placed) {
	leaving := pod.DeletionTimestamp != nil
	if have != nil && have.node == pod.Spec.NodeName && have.leaving == leaving && equality.Semantic.DeepEqual(have.labels, pod.Labels) {
		if have.booked {
			have.booked = false
			w.queue.wake(whyNear | whySpread)
		}
		return
	}
	if have != nil {
		w.remove(have)
	}
	w.place(newPlaced(pod, pod.Spec.NodeName))
	switch {
	case have == nil:
		w.queue.wake(whyNear | whySpread)
	case leaving:
		w.freed(have)
	default:
		w.queue.wake(whyPods)
	}
}

// freed wakes those that a pod may have kept from its node.
func (w *world) freed(p *placed) {
	w.queue.wake(whyPods | whyTaken)
	if h := w.hosts[p.node]; h != nil {
		w.queue.wakeIf(whyRoom, func(q *pending) bool { return h.fits(q.asked) })
	}
}

func (w *world) place(p *placed) {
	p.terms = w.termsOf(p.affinity, p.key.Namespace)
	w.host(p.node).add(p, 1)
	w.pods[p.uid] = p
	if w.inNamespace[p.key.Namespace] == nil {
		w.inNamespace[p.key.Namespace] = map[types.UID]*placed{}
	}
	w.inNamespace[p.key.Namespace][p.uid] = p
	w.counters.add(p, 1)
	w.hold(p, 1)
	w.use(p, 1)
	w.changed(true)
}

// use counts the claims of a pod.
func (w *world) use(p *placed, n int) {
	for _, claim := range p.claims {
		key := loop.Key{Namespace: p.key.Namespace, Name: claim}
		if w.using[key] += n; w.using[key] == 0 {
			delete(w.using, key)
		}
	}
}

func (w *world) remove(p *placed) {
	h := w.host(p.node)
	if h.add(p, -1); h.node == nil && len(h.pods) == 0 {
		delete(w.hosts, p.node)
	}
	delete(w.pods, p.uid)
	if delete(w.inNamespace[p.key.Namespace], p.uid); len(w.inNamespace[p.key.Namespace]) == 0 {
		delete(w.inNamespace, p.key.Namespace)
	}
	w.counters.add(p, -1)
	w.hold(p, -1)
	w.use(p, -1)
	w.changed(false)
}

func (w *world) sawClaim(event watch.EventType, o client.Object) {
	if c, ok := o.(*corev1.PersistentVolumeClaim); ok {
		if key := client.ObjectKeyFromObject(c); event == watch.Deleted {
			delete(w.claims, key)
		} else {
			w.claims[key] = c
		}
		w.queue.wake(whyVolume)
	}
}

func (w *world) sawVolume(event watch.EventType, o client.Object) {
	if v, ok := o.(*corev1.PersistentVolume); ok {
		if event == watch.Deleted {
			delete(w.volumes, v.Name)
		} else {
			w.volumes[v.Name] = v
		}
		w.queue.wake(whyVolume)
	}
}

func (w *world) sawProject(event watch.EventType, o client.Object) {
	p, ok := o.(*projectv1.Project)
	if !ok {
		return
	}
	before := w.projects[p.Name]
	if event == watch.Deleted {
		delete(w.projects, p.Name)
	} else {
		w.projects[p.Name] = p
	}
	if before == nil || event == watch.Deleted || !equality.Semantic.DeepEqual(before.Labels, p.Labels) {
		w.relabelled = true
	}
	w.queue.wake(whySelector | whyPods)
}

func (w *world) sawClass(event watch.EventType, o client.Object) {
	c, ok := o.(*schedulingv1.PriorityClass)
	if !ok {
		return
	}
	if event == watch.Deleted {
		delete(w.classes, c.Name)
	} else {
		w.classes[c.Name] = c
	}
	w.defaultClass = nil
	for _, one := range w.classes {
		// Of several defaults the lowest counts, as in Kubernetes.
		if d := w.defaultClass; one.GlobalDefault && (d == nil || cmp.Or(cmp.Compare(one.Value, d.Value), strings.Compare(one.Name, d.Name)) < 0) {
			w.defaultClass = one
		}
	}
	w.queue.prioritize(w.priority)
	w.queue.wake(whyPod)
}

// namespacesOf are the projects whose labels match.
func (w *world) namespacesOf(s labels.Selector) []string {
	var out []string
	for name, p := range w.projects {
		// Kubernetes gives every namespace this label.
		if s.Matches(labels.Merge(p.Labels, labels.Set{corev1.LabelMetadataName: name})) {
			out = append(out, name)
		}
	}
	return out
}
