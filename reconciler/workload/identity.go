package workload

import (
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// pod makes the pod of a number: its name, host name, claims and revision follow from it.
func (s Stateful) pod(number int) *corev1.Pod {
	version := s.Update
	if s.rolls() && number < s.partition() {
		version = s.Current
	}
	t := version.Template.DeepCopy()
	name := s.Set.Name + "-" + strconv.Itoa(number)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Set.Namespace, Name: name, Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.Set, statefulKind)},
		},
		Spec: t.Spec,
	}
	for label, value := range map[string]string{
		appsv1.StatefulSetPodNameLabel: name, appsv1.PodIndexLabel: strconv.Itoa(number), appsv1.ControllerRevisionHashLabelKey: version.Name,
	} {
		p.Labels = with(p.Labels, label, value)
	}
	p.Spec.Hostname, p.Spec.Subdomain = name, s.Set.Spec.ServiceName
	for _, c := range s.Set.Spec.VolumeClaimTemplates {
		p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == c.Name })
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: c.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(&c, name)},
		}})
	}
	return p
}

// claimName is <claim>-<set>-<n>.
func claimName(c *corev1.PersistentVolumeClaim, pod string) string { return c.Name + "-" + pod }

// claimsOf are the claims of a pod as they are when they are new.
func claimsOf(set *appsv1.StatefulSet, pod string) []*corev1.PersistentVolumeClaim {
	var out []*corev1.PersistentVolumeClaim
	for i := range set.Spec.VolumeClaimTemplates {
		c := set.Spec.VolumeClaimTemplates[i].DeepCopy()
		c.Name, c.Namespace = claimName(c, pod), set.Namespace
		labels := maps.Clone(c.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, set.Spec.Selector.MatchLabels)
		c.Labels, c.Status = labels, corev1.PersistentVolumeClaimStatus{}
		c.Annotations = with(c.Annotations, api.AnnotationSet, set.Name)
		out = append(out, c)
	}
	return out
}

// claimOwners are the references that a claim has by the set's retention policy: to the set
// where it goes with the set, to the pod where the pod is condemned and takes it along.
// References to anything else stay.
func claimOwners(set *appsv1.StatefulSet, p *corev1.Pod, condemned bool, have []metav1.OwnerReference) []metav1.OwnerReference {
	deleted, scaled := false, false
	if r := set.Spec.PersistentVolumeClaimRetentionPolicy; r != nil {
		deleted = r.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
		scaled = r.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	var out []metav1.OwnerReference
	for _, ref := range have {
		ours := ref.Kind == statefulKind.Kind && ref.Name == set.Name || ref.Kind == "Pod" && ref.Name == p.Name
		if !ours {
			out = append(out, ref)
		}
	}
	switch {
	case condemned && scaled:
		out = append(out, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID})
	case deleted:
		out = append(out, metav1.OwnerReference{APIVersion: statefulKind.GroupVersion().String(), Kind: statefulKind.Kind, Name: set.Name, UID: set.UID})
	}
	return out
}
