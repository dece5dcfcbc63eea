package workload

import (
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/reconciler/pods"
)

// Kubernetes' annotations of Deployments and their ReplicaSets.
const (
	annotationRevision        = "deployment.kubernetes.io/revision"
	annotationRevisionHistory = "deployment.kubernetes.io/revision-history"
	annotationDesired         = "deployment.kubernetes.io/desired-replicas"
	annotationMax             = "deployment.kubernetes.io/max-replicas"
	annotationRollbackTo      = "deprecated.deployment.rollback.to"
)

// ownNotes are annotations that a Deployment does not hand on to its sets.
var ownNotes = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true, annotationRevision: true, annotationRevisionHistory: true,
	annotationDesired: true, annotationMax: true, annotationRollbackTo: true,
}

// revisionOf reads a set's revision; 0 where there is none.
func revisionOf(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[annotationRevision], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// newRevision is one more than the newest old set's.
func newRevision(olds []*appsv1.ReplicaSet) int64 {
	newest := int64(0)
	for _, rs := range olds {
		newest = max(newest, revisionOf(rs))
	}
	return newest + 1
}

// noted reads a number that was noted on a set.
func noted(rs *appsv1.ReplicaSet, annotation string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[annotation], 10, 32)
	return int32(n), err == nil
}

// noteReplicas notes what the Deployment asks for, and how many pods it may have at most.
func noteReplicas(rs *appsv1.ReplicaSet, d *appsv1.Deployment) {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	want := number(d.Spec.Replicas)
	surge, _ := fenceposts(d)
	rs.Annotations[annotationDesired] = strconv.Itoa(int(want))
	rs.Annotations[annotationMax] = strconv.Itoa(int(want) + int(surge))
}

// withNotes is the current set with the Deployment's annotations, its minReadySeconds and a
// revision that is the newest; nil where it has all that.
func withNotes(d *appsv1.Deployment, current *appsv1.ReplicaSet, revision int64) *appsv1.ReplicaSet {
	out := current.DeepCopy()
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	handOn(d, out)
	if old := revisionOf(out); old < revision {
		out.Annotations[annotationRevision] = strconv.FormatInt(revision, 10)
		if old > 0 {
			history := strings.FieldsFunc(out.Annotations[annotationRevisionHistory], func(r rune) bool { return r == ',' })
			out.Annotations[annotationRevisionHistory] = strings.Join(append(history, strconv.FormatInt(old, 10)), ",")
		}
	}
	out.Spec.MinReadySeconds = d.Spec.MinReadySeconds
	if maps.Equal(out.Annotations, current.Annotations) && out.Spec.MinReadySeconds == current.Spec.MinReadySeconds {
		return nil
	}
	return out
}

func handOn(d *appsv1.Deployment, rs *appsv1.ReplicaSet) {
	for k, v := range d.Annotations {
		if !ownNotes[k] {
			rs.Annotations[k] = v
		}
	}
}

// newSet is the ReplicaSet of a Deployment's template.
func newSet(d *appsv1.Deployment, replicas int32, revision int64) *appsv1.ReplicaSet {
	template := d.Spec.Template.DeepCopy()
	hash := pods.Hash(template, d.Status.CollisionCount)
	template.Labels = with(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	selector := d.Spec.Selector.DeepCopy()
	selector.MatchLabels = with(selector.MatchLabels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Namespace, Name: setName(d, hash), Labels: maps.Clone(template.Labels), Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, MinReadySeconds: d.Spec.MinReadySeconds, Selector: selector, Template: *template},
	}
	handOn(d, rs)
	rs.Annotations[annotationRevision] = strconv.FormatInt(revision, 10)
	noteReplicas(rs, d)
	return rs
}

// SetName is the name of the ReplicaSet that a Deployment's template gets.
func SetName(d *appsv1.Deployment) string {
	return setName(d, pods.Hash(&d.Spec.Template, d.Status.CollisionCount))
}

func setName(d *appsv1.Deployment, hash string) string {
	return d.Name[:min(len(d.Name), 253-len(hash)-1)] + "-" + hash
}

func with(m map[string]string, key, value string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	out[key] = value
	return out
}

// sameTemplate compares a set's template with a Deployment's, which has no hash label.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	delete(a.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	delete(b.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return equality.Semantic.DeepEqual(a, b)
}
