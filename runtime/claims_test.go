package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime/mounts"
)

func TestEmptyOutFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	canary := filepath.Join(outside, "canary")
	for _, f := range []string{canary, filepath.Join(dir, "a"), filepath.Join(dir, ".hidden"), filepath.Join(dir, "sub", "deep", "b")} {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("x"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{filepath.Join(dir, "link"), filepath.Join(dir, "sub", "link")} {
		if err := os.Symlink(outside, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := emptyOut(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := os.Stat(canary); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	if err := emptyOut(filepath.Join(dir, "none")); err != nil {
		t.Errorf("what is not there is empty: %v", err)
	}
}

func TestNothingIsRemovedWhereSomethingIsMounted(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	t.Cleanup(func() {
		if err := mounts.UndoBelow(dir); err != nil {
			t.Error(err)
		}
	})
	inside := filepath.Join(dir, "inside")
	for _, f := range []string{filepath.Join(dir, "a"), filepath.Join(data, "b")} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := bind(data, inside); err != nil {
		t.Fatal(err)
	}
	if err := emptyOut(dir); err == nil || !strings.Contains(err.Error(), "is mounted inside") {
		t.Error(err)
	}
	for _, f := range []string{filepath.Join(dir, "a"), filepath.Join(data, "b")} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

func TestTheAgentsOwnFilesAreSpared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &Agent{files: files{filepath.Join(dir, "own", "pods")}}
	for _, d := range []string{"own/pods/x", "beside"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, ok := range map[string]bool{"": false, "own": false, "own/pods": false, "own/pods/x": false, "beside": true, "none": true} {
		if err := a.spare(filepath.Join(dir, path)); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestReclaimable(t *testing.T) {
	t.Parallel()
	volume := func(edit func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{api.ReclaimAnnotation: "n1"}}}
		v.Spec.ClaimRef = &corev1.ObjectReference{UID: "u1"}
		v.Spec.PersistentVolumeReclaimPolicy, v.Status.Phase = corev1.PersistentVolumeReclaimRecycle, corev1.VolumeReleased
		edit(v)
		return v
	}
	for name, c := range map[string]struct {
		edit func(*corev1.PersistentVolume)
		want bool
	}{
		"asked":                 {func(*corev1.PersistentVolume) {}, true},
		"another node is asked": {func(v *corev1.PersistentVolume) { v.Annotations[api.ReclaimAnnotation] = "n2" }, false},
		"it is bound":           {func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }, false},
		"it is done":            {func(v *corev1.PersistentVolume) { v.Annotations[api.ReclaimedAnnotation] = "u1" }, false},
		"done for one before":   {func(v *corev1.PersistentVolume) { v.Annotations[api.ReclaimedAnnotation] = "u0" }, true},
		"its data is kept": {func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, false},
		"it is nobody's": {func(v *corev1.PersistentVolume) { v.Spec.ClaimRef = nil }, false},
	} {
		if got := reclaimable(volume(c.edit), "n1"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNFSOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version string
		options []string
		want    string
	}{
		{"vers=4.2", nil, "addr=10.0.0.1,clientaddr=10.0.0.2,vers=4.2"},
		{nfsVersions[3], []string{"ro"}, "addr=10.0.0.1,vers=3,nolock,proto=tcp,mountproto=tcp,ro"},
		{"", []string{"vers=4.1", "soft"}, "addr=10.0.0.1,clientaddr=10.0.0.2,vers=4.1,soft"},
	} {
		if got := nfsData("10.0.0.1", "10.0.0.2", c.version, c.options); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	for server, want := range map[string]string{"files": "files:/x", "fd00::1": "[fd00::1]:/x"} {
		if got := nfsDevice(&corev1.NFSVolumeSource{Server: server, Path: "/x"}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestMountsThatAreLostAreNoticed(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	t.Cleanup(func() {
		if err := mounts.UndoBelow(dir); err != nil {
			t.Error(err)
		}
	})
	a, key := &Agent{files: files{dir}}, types.NamespacedName{Namespace: "shop", Name: "db"}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "u1"}}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
	}
	at := filepath.Join(a.files.dir(key, pod.UID), "volumes", "data")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if lost, err := a.lostMounts(key, pod); err != nil || !lost {
		t.Errorf("not mounted: %v, %v", lost, err)
	}
	if err := bind(data, at); err != nil {
		t.Fatal(err)
	}
	if lost, err := a.lostMounts(key, pod); err != nil || lost {
		t.Errorf("mounted: %v, %v", lost, err)
	}
}
