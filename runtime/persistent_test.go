package runtime_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// bound makes a volume and a claim that are each other's.
func (l *lab) bound(name string, source corev1.PersistentVolumeSource, mode corev1.PersistentVolumeAccessMode) (*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) {
	l.t.Helper()
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	size, modes := corev1.ResourceList{"storage": resource.MustParse("1Gi")}, []corev1.PersistentVolumeAccessMode{mode}
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: modes, Resources: corev1.VolumeResourceRequirements{Requests: size}, VolumeName: name,
	}}
	must(l.client.Create(l.t.Context(), c))
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: modes, PersistentVolumeSource: source,
		ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: name, UID: c.UID},
	}}
	must(l.client.Create(l.t.Context(), v))
	v.Status.Phase, c.Status.Phase = corev1.VolumeBound, corev1.ClaimBound
	must(l.client.Status().Update(l.t.Context(), v))
	must(l.client.Status().Update(l.t.Context(), c))
	return v, c
}

func claimVolume(name string, readOnly bool) []corev1.Volume {
	return []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name, ReadOnly: readOnly}}}}
}

func hostPath(path string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}
}

// once is a pod that runs a script with the claim at /data, and the subPath sub of it at /sub.
func once(claim, script string, readOnly bool) corev1.PodSpec {
	c := sh(script)
	c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "data", MountPath: "/sub", SubPath: "sub"}}
	if readOnly {
		c.VolumeMounts = c.VolumeMounts[:1]
	}
	return corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}, Volumes: claimVolume(claim, readOnly)}
}

func TestClaimsOutliveTheirPods(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := filepath.Join(t.TempDir(), "made", "on demand")
	l.bound("disk", hostPath(dir), corev1.ReadWriteOnce)
	l.pod("writes", once("disk", "echo kept > /data/f && echo below > /sub/g", false))
	writes := l.until("writes", "succeeded", phase(corev1.PodSucceeded))
	if err := l.client.Delete(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
	l.poll("the pod and its files are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(l.dir, "pods", "*"))
		return err == nil && len(left) == 0 && apierrors.IsNotFound(l.client.Get(t.Context(), client.ObjectKeyFromObject(writes), &corev1.Pod{}))
	}, nothing)
	for file, want := range map[string]string{"f": "kept\n", "sub/g": "below\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	l.pod("reads", once("disk", "cat /data/f; touch /data/f 2>/dev/null || echo read-only", true))
	l.until("reads", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("reads", "main", corev1.PodLogOptions{}); got != "kept\nread-only\n" {
		t.Errorf("read %q", got)
	}
}

func TestAVolumeForManyReadersIsReadOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := t.TempDir()
	l.bound("many", hostPath(dir), corev1.ReadOnlyMany)
	spec := once("many", "touch /data/f 2>/dev/null || echo read-only", false)
	spec.Containers[0].VolumeMounts = spec.Containers[0].VolumeMounts[:1]
	l.pod("reads", spec)
	l.until("reads", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("reads", "main", corev1.PodLogOptions{}); got != "read-only\n" {
		t.Errorf("said %q", got)
	}
}

func TestAVolumeForOnePodWaits(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.bound("lone", hostPath(t.TempDir()), corev1.ReadWriteOncePod)
	l.pod("first", once("lone", forever, true))
	l.until("first", "running", phase(corev1.PodRunning))
	// Several, as which of two pods of one second is the older is a matter of their UIDs.
	for _, name := range []string{"second", "third", "fourth", "fifth"} {
		l.pod(name, once("lone", "true", true))
		l.until(name, "waits", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				strings.Contains(p.Status.ContainerStatuses[0].State.Waiting.Message, "in use by pod first")
		})
		l.poll("it is told", l.event(name, "FailedMount"), nothing)
	}
}

func TestWhyAnExportCannotBeMounted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.bound("export", corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "127.0.0.77", Path: "/export"}}, corev1.ReadWriteMany)
	l.pod("web", once("export", "true", true))
	l.until("web", "waits", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			strings.Contains(p.Status.ContainerStatuses[0].State.Waiting.Message, "NFS server 127.0.0.77 cannot be reached")
	})
	l.poll("it is told", l.event("web", "FailedMount"), nothing)
}

func TestVolumesAreReclaimedByTheirNode(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for policy, left := range map[corev1.PersistentVolumeReclaimPolicy]bool{corev1.PersistentVolumeReclaimRecycle: true, corev1.PersistentVolumeReclaimDelete: false} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		name := strings.ToLower(string(policy))
		v, c := l.bound(name, hostPath(dir), corev1.ReadWriteOnce)
		v.Spec.PersistentVolumeReclaimPolicy = policy
		v.Annotations = map[string]string{api.ReclaimAnnotation: node}
		if err := l.client.Update(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		v.Status.Phase = corev1.VolumeReleased
		if err := l.client.Status().Update(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		l.poll("it says so", func() bool {
			if err := l.client.Get(t.Context(), client.ObjectKeyFromObject(v), v); err != nil {
				t.Fatal(err)
			}
			return v.Annotations[api.ReclaimedAnnotation] == string(c.UID)
		}, func() any { return v.Annotations })
		entries, err := os.ReadDir(dir)
		if left != (err == nil) || len(entries) > 0 {
			t.Errorf("%s: %v, %v", policy, entries, err)
		}
	}
}
