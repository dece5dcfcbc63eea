package storage_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/storage"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func start(t *testing.T, c *state.Client, over client.Client) {
	t.Helper()
	statetest.Run(t, c, storage.Controllers(storage.Deps{Client: over, Events: statetest.Silent{}})...)
}

func newVolume(name, capacity string, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{"storage": resource.MustParse(capacity)}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeReclaimPolicy: policy, PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/" + name}},
	}}
}

func newClaim(name, request string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse(request)}},
	}}
}

func claimNamed(t *testing.T, c client.Client, name string) *corev1.PersistentVolumeClaim {
	t.Helper()
	var claim corev1.PersistentVolumeClaim
	statetest.Must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &claim))
	return &claim
}

func volumeNamed(t *testing.T, c client.Client, name string) *corev1.PersistentVolume {
	t.Helper()
	var v corev1.PersistentVolume
	statetest.Must(t, c.Get(t.Context(), client.ObjectKey{Name: name}, &v))
	return &v
}

// TestEveryClaimGetsAVolumeOfItsOwn has servers side by side, which die in the middle of everything,
// bind claims to volumes that are just enough.
func TestEveryClaimGetsAVolumeOfItsOwn(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	for seed := range int64(3) {
		start(t, c, statetest.NewFlaky(c, seed))
	}
	const n = 12
	for i := range n {
		statetest.Must(t, c.Create(ctx, newClaim(fmt.Sprintf("c%d", i), "1Gi")))
		statetest.Must(t, c.Create(ctx, newVolume(fmt.Sprintf("v%d", i), "2Gi", corev1.PersistentVolumeReclaimRetain)))
	}
	statetest.Must(t, c.Create(ctx, newClaim("one-too-many", "1Gi")))
	statetest.Eventually(t, "all are bound", func() bool {
		var claims corev1.PersistentVolumeClaimList
		statetest.Must(t, c.List(ctx, &claims))
		bound := map[string]bool{}
		for _, claim := range claims.Items {
			if claim.Status.Phase != corev1.ClaimBound {
				continue
			}
			v := volumeNamed(t, c, claim.Spec.VolumeName)
			if v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != claim.UID || bound[v.Name] {
				t.Fatalf("claim %s is bound to %s, which is %v's", claim.Name, v.Name, v.Spec.ClaimRef)
			}
			bound[v.Name] = v.Status.Phase == corev1.VolumeBound
		}
		return len(bound) == n
	})
	var claims corev1.PersistentVolumeClaimList
	statetest.Must(t, c.List(ctx, &claims))
	pending := 0
	for _, claim := range claims.Items {
		if claim.Status.Phase == corev1.ClaimPending {
			pending++
		}
	}
	if pending != 1 {
		t.Errorf("%d claims wait, not 1", pending)
	}
}

func TestWhatIsUsedIsProtected(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	start(t, c, c)
	statetest.Must(t, c.Create(ctx, newVolume("v", "1Gi", corev1.PersistentVolumeReclaimRetain)))
	statetest.Must(t, c.Create(ctx, newClaim("data", "1Gi")))
	statetest.Eventually(t, "it is bound", func() bool { return claimNamed(t, c, "data").Status.Phase == corev1.ClaimBound })
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop"}, Spec: corev1.PodSpec{
		NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "db"}},
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}},
	}}
	statetest.Must(t, c.Create(ctx, pod))
	statetest.Must(t, c.Delete(ctx, volumeNamed(t, c, "v")))
	statetest.Must(t, c.Delete(ctx, claimNamed(t, c, "data")))
	time.Sleep(200 * time.Millisecond)
	if claimNamed(t, c, "data").DeletionTimestamp == nil || volumeNamed(t, c, "v").DeletionTimestamp == nil {
		t.Error("they are not being deleted")
	}
	pod.Status.Phase = corev1.PodSucceeded
	statetest.Must(t, c.Status().Update(ctx, pod))
	statetest.Eventually(t, "both go when the pod has ended", func() bool {
		claim := c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "data"}, &corev1.PersistentVolumeClaim{})
		v := c.Get(ctx, client.ObjectKey{Name: "v"}, &corev1.PersistentVolume{})
		return apierrors.IsNotFound(claim) && apierrors.IsNotFound(v)
	})
}

// TestVolumesComeBack plays the node that is asked to empty a volume.
func TestVolumesComeBack(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	start(t, c, c)
	statetest.Must(t, c.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}))
	policies := map[string]corev1.PersistentVolumeReclaimPolicy{
		"kept": corev1.PersistentVolumeReclaimRetain, "emptied": corev1.PersistentVolumeReclaimRecycle, "removed": corev1.PersistentVolumeReclaimDelete,
	}
	for name, policy := range policies {
		v := newVolume(name, "1Gi", policy)
		v.Spec.StorageClassName = name
		statetest.Must(t, c.Create(ctx, v))
		claim := newClaim(name, "1Gi")
		claim.Spec.StorageClassName = &name
		statetest.Must(t, c.Create(ctx, claim))
	}
	for name := range policies {
		statetest.Eventually(t, name+" is bound", func() bool { return claimNamed(t, c, name).Status.Phase == corev1.ClaimBound })
		statetest.Must(t, c.Delete(ctx, claimNamed(t, c, name)))
	}
	for _, name := range []string{"emptied", "removed"} {
		statetest.Eventually(t, "the node is asked", func() bool {
			v := volumeNamed(t, c, name)
			if v.Annotations[api.ReclaimAnnotation] != "n1" || v.Status.Phase != corev1.VolumeReleased {
				return false
			}
			v.Annotations[api.ReclaimedAnnotation] = string(v.Spec.ClaimRef.UID)
			return c.Update(ctx, v) == nil
		})
	}
	statetest.Eventually(t, "one is gone", func() bool {
		return apierrors.IsNotFound(c.Get(ctx, client.ObjectKey{Name: "removed"}, &corev1.PersistentVolume{}))
	})
	statetest.Eventually(t, "one is there for the next", func() bool {
		v := volumeNamed(t, c, "emptied")
		return v.Status.Phase == corev1.VolumeAvailable && v.Spec.ClaimRef == nil && v.Annotations[api.ReclaimAnnotation] == ""
	})
	if v := volumeNamed(t, c, "kept"); v.Status.Phase != corev1.VolumeReleased || v.Spec.ClaimRef == nil || v.Annotations[api.ReclaimAnnotation] != "" {
		t.Errorf("%+v", v)
	}
}
