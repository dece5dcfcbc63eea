package nodeapi_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// released is a volume whose claim is gone, and that a node is asked to empty.
func released(name, node string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{api.ReclaimAnnotation: node}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{"storage": resource.MustParse("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRecycle, ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: "data", UID: "u1"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/" + name}},
		},
	}
}

func TestANodeReclaimsWhatItIsAskedTo(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.create(released("mine", "mine"), released("theirs", "theirs"))
	c, _ := s.node("mine", "10.128.0.0/23")
	var list corev1.PersistentVolumeList
	s.must(c.List(t.Context(), &list))
	if len(list.Items) != 1 || list.Items[0].Name != "mine" {
		t.Fatalf("it sees %v", list.Items)
	}
	v := &list.Items[0]
	for name, edit := range map[string]func(*corev1.PersistentVolume){
		"of another claim": func(v *corev1.PersistentVolume) { v.Annotations[api.ReclaimedAnnotation] = "u2" },
		"with a long tale": func(v *corev1.PersistentVolume) {
			v.Annotations[api.ReclaimErrorAnnotation] = strings.Repeat("x", 3000)
		},
		"of another node": func(v *corev1.PersistentVolume) { v.Name = "theirs" },
	} {
		bad := v.DeepCopy()
		edit(bad)
		if err := c.Update(t.Context(), bad); err == nil {
			t.Errorf("a report %s is taken", name)
		}
	}
	v.Annotations[api.ReclaimedAnnotation], v.Annotations["other"] = "u1", "x"
	v.Spec.HostPath.Path, v.Spec.ClaimRef, v.Labels = "/etc", nil, map[string]string{"a": "b"}
	s.must(c.Update(t.Context(), v))
	var now corev1.PersistentVolume
	s.must(s.state.Get(t.Context(), client.ObjectKey{Name: "mine"}, &now))
	if now.Annotations[api.ReclaimedAnnotation] != "u1" || now.Annotations["other"] != "" || now.Spec.HostPath.Path != "/srv/mine" || now.Spec.ClaimRef == nil || len(now.Labels) > 0 {
		t.Errorf("%+v", now)
	}
	now.Status.Phase = corev1.VolumeBound
	s.must(s.state.Status().Update(t.Context(), &now))
	if err := c.Update(t.Context(), now.DeepCopy()); err == nil {
		t.Error("a bound volume is taken for emptied")
	}
}
