package api

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestVolumesAndClaimsAreChecked(t *testing.T) {
	t.Parallel()
	const (
		volume = "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], SPEC}}"
		claim  = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: shop, ANNOTATIONS}, spec: {resources: {requests: {storage: 1Gi}}, SPEC}}"
		onN1   = ", nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1]}]}]}}"
		rwo    = "accessModes: [ReadWriteOnce]"
	)
	for _, c := range []struct{ text, spec, want string }{
		{volume, "hostPath: {path: /srv/v}", ""},
		{volume, "hostPath: {path: /srv/v, type: DirectoryOrCreate}, persistentVolumeReclaimPolicy: Recycle", ""},
		{volume, "hostPath: {path: /srv/v}, persistentVolumeReclaimPolicy: Delete", ""},
		{volume, "hostPath: {path: /srv/v}, persistentVolumeReclaimPolicy: Forget", "spec.persistentVolumeReclaimPolicy"},
		{volume, "hostPath: {path: /srv/v, type: Socket}", "spec.hostPath.type"},
		{volume, "hostPath: {path: /}", "spec.hostPath.path"},
		{volume, "hostPath: {path: /srv/v}, nfs: {server: files, path: /x}", "spec"},
		{volume, "nfs: {server: files.shop.example, path: /x}, mountOptions: [vers=4.1, soft]", ""},
		{volume, "nfs: {server: 10.0.0.9, path: /x}, persistentVolumeReclaimPolicy: Recycle", ""},
		{volume, "nfs: {server: 'a b', path: /x}", "spec.nfs.server"},
		{volume, "nfs: {server: files, path: /x}, persistentVolumeReclaimPolicy: Delete", "spec.persistentVolumeReclaimPolicy"},
		{volume, "nfs: {server: files, path: /x}, mountOptions: ['soft,addr=10.0.0.1']", "spec.mountOptions[0]"},
		{volume, "hostPath: {path: /srv/v}, mountOptions: [ro]", "spec.mountOptions[0]"},
		{volume, "local: {path: /srv/v}" + onN1, ""},
		{volume, "local: {path: /srv/v}", "spec.nodeAffinity"},
		{volume, "local: {path: /dev/sdb, fsType: ext4}" + onN1, "spec.local.fsType"},
		{volume, "hostPath: {path: /srv/v}, nodeAffinity: {required: {nodeSelectorTerms: []}}", "spec.nodeAffinity.required.nodeSelectorTerms"},
		{volume, "hostPath: {path: /srv/v}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Near}]}]}}", "spec.nodeAffinity.required"},
		{volume, "hostPath: {path: /srv/v}, volumeMode: Block", "spec.volumeMode"},
		{volume, "hostPath: {path: /srv/v}, storageClassName: No_Name", "spec.storageClassName"},
		{volume, "hostPath: {path: /srv/v}, claimRef: {name: c}", "spec.claimRef.namespace"},
		{volume, "hostPath: {path: /srv/v}, claimRef: {name: c, namespace: shop}", ""},
		{volume, "awsElasticBlockStore: {volumeID: v}", "spec"},
		{claim, rwo, ""},
		{claim, rwo + ", storageClassName: '', volumeName: v, selector: {matchLabels: {a: b}}", ""},
		{claim, "accessModes: [ReadWriteOncePod]", ""},
		{claim, "accessModes: [ReadWriteOncePod, ReadWriteOnce]", "spec.accessModes[0]"},
		{claim, rwo + ", volumeName: No_Name, storageClassName: No_Name", "spec.storageClassName spec.volumeName"},
		{claim, rwo + ", dataSource: {kind: PersistentVolumeClaim, name: other}", "spec.dataSource"},
		{strings.Replace(claim, "ANNOTATIONS", "annotations: {pv.kubernetes.io/bind-completed: 'yes'}", 1), rwo, "metadata.annotations[pv.kubernetes.io/bind-completed]"},
	} {
		u := &unstructured.Unstructured{}
		text := strings.NewReplacer("SPEC", c.spec, ", ANNOTATIONS", "").Replace(c.text)
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(text, err)
		}
		var got []string
		for _, e := range append(Check(u), Unserved(u)...) {
			got = append(got, e.Field)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: refused %q, want %q", c.spec, got, c.want)
		}
	}
}
