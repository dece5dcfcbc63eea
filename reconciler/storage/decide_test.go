package storage

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
)

func read[T any](t *testing.T, text string) *T {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), o); err != nil {
		t.Fatal(text, err)
	}
	return o
}

// volume is a volume of hostPath; more is of its spec, and may end it for more of the object.
func volume(t *testing.T, name, capacity, modes, more string) *corev1.PersistentVolume {
	t.Helper()
	v := read[corev1.PersistentVolume](t, fmt.Sprintf("{metadata: {name: %s, labels: {app: %s}}, spec: {capacity: {storage: %s}, accessModes: [%s], hostPath: {path: /srv/x}, %s}", name, name, capacity, modes, more+closed(more)))
	api.Default(v)
	return v
}

func claim(t *testing.T, request, more string) *corev1.PersistentVolumeClaim {
	t.Helper()
	c := read[corev1.PersistentVolumeClaim](t, fmt.Sprintf("{metadata: {name: data, namespace: shop, uid: u1}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: %s}}, %s}", request, more+closed(more)))
	api.Default(c)
	return c
}

// closed ends what more left open.
func closed(more string) string {
	return strings.Repeat("}", 1+strings.Count(more, "{")-strings.Count(more, "}"))
}

const (
	rwo    = "ReadWriteOnce"
	mine   = "claimRef: {namespace: shop, name: data}"
	given1 = "claimRef: {namespace: shop, name: data, uid: u1}"
	other  = "claimRef: {namespace: shop, name: other, uid: u2}"
)

func TestDecideClaim(t *testing.T) {
	t.Parallel()
	bound := func(c *corev1.PersistentVolumeClaim, volume string) *corev1.PersistentVolumeClaim {
		c.Spec.VolumeName, c.Annotations = volume, map[string]string{bindCompleted: "yes"}
		return c
	}
	small, big := volume(t, "small", "1Gi", rwo, ""), volume(t, "big", "9Gi", rwo, "")
	for name, c := range map[string]struct {
		claim   *corev1.PersistentVolumeClaim
		volumes []*corev1.PersistentVolume
		want    string
	}{
		"the smallest that fits":       {claim(t, "1Gi", ""), []*corev1.PersistentVolume{big, small}, "Bound small"},
		"a larger one if it must":      {claim(t, "2Gi", ""), []*corev1.PersistentVolume{big, small}, "Bound big"},
		"none is large enough":         {claim(t, "10Gi", ""), []*corev1.PersistentVolume{big, small}, "Pending FailedBinding"},
		"fewer access modes":           {claim(t, "1Gi", ""), []*corev1.PersistentVolume{volume(t, "a", "1Gi", "ReadWriteOnce, ReadWriteMany", ""), small}, "Bound small"},
		"every access mode":            {claim(t, "1Gi", ""), []*corev1.PersistentVolume{volume(t, "a", "1Gi", "ReadWriteMany", "")}, "Pending FailedBinding"},
		"of its class":                 {claim(t, "1Gi", "storageClassName: fast"), []*corev1.PersistentVolume{small, volume(t, "f", "5Gi", rwo, "storageClassName: fast")}, "Bound f"},
		"no class is a class":          {claim(t, "1Gi", ""), []*corev1.PersistentVolume{volume(t, "f", "5Gi", rwo, "storageClassName: fast")}, "Pending FailedBinding"},
		"by its selector":              {claim(t, "1Gi", "selector: {matchLabels: {app: big}}"), []*corev1.PersistentVolume{small, big}, "Bound big"},
		"one that is taken":            {claim(t, "1Gi", ""), []*corev1.PersistentVolume{volume(t, "a", "1Gi", rwo, other)}, "Pending FailedBinding"},
		"one that waits for it":        {claim(t, "1Gi", ""), []*corev1.PersistentVolume{small, volume(t, "a", "5Gi", rwo, mine)}, "Bound a"},
		"one that it was given":        {claim(t, "1Gi", ""), []*corev1.PersistentVolume{small, volume(t, "a", "5Gi", rwo, given1)}, "Bound a"},
		"given to one that was before": {claim(t, "1Gi", ""), []*corev1.PersistentVolume{volume(t, "a", "5Gi", rwo, "claimRef: {namespace: shop, name: data, uid: u0}")}, "Pending FailedBinding"},
		"one that is not emptied yet":  {claim(t, "1Gi", ""), []*corev1.PersistentVolume{volume(t, "a", "5Gi", rwo, "}, status: {phase: Failed}")}, "Pending FailedBinding"},

		"the one that it names":      {claim(t, "1Gi", "volumeName: big"), []*corev1.PersistentVolume{small, big}, "Bound big"},
		"it names none":              {claim(t, "1Gi", "volumeName: none"), []*corev1.PersistentVolume{small}, "Pending FailedBinding"},
		"it names a taken one":       {claim(t, "1Gi", "volumeName: a"), []*corev1.PersistentVolume{volume(t, "a", "1Gi", rwo, other)}, "Pending FailedBinding"},
		"it names one that is small": {claim(t, "2Gi", "volumeName: small"), []*corev1.PersistentVolume{small}, "Pending VolumeMismatch"},

		"it stays bound":              {bound(claim(t, "1Gi", ""), "a"), []*corev1.PersistentVolume{volume(t, "a", "1Gi", rwo, given1)}, "Bound a"},
		"its volume forgot it":        {bound(claim(t, "1Gi", ""), "small"), []*corev1.PersistentVolume{small}, "Bound small"},
		"its volume is gone":          {bound(claim(t, "1Gi", ""), "a"), nil, "Lost ClaimLost"},
		"its volume is another's now": {bound(claim(t, "1Gi", ""), "a"), []*corev1.PersistentVolume{volume(t, "a", "1Gi", rwo, other)}, "Lost ClaimMisbound"},
		"it grew beyond its volume":   {bound(claim(t, "5Gi", ""), "a"), []*corev1.PersistentVolume{volume(t, "a", "1Gi", rwo, given1)}, "Bound a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := DecideClaim(c.claim, c.volumes)
			got := string(d.Phase) + " " + d.reason
			if d.Volume != nil {
				got += d.Volume.Name
			}
			if got != c.want {
				t.Errorf("%s (%s), want %s", got, d.message, c.want)
			}
		})
	}
}

func TestDecideVolume(t *testing.T) {
	t.Parallel()
	named := func(volume string) *corev1.PersistentVolumeClaim {
		return claim(t, "1Gi", "volumeName: "+volume)
	}
	node := func(name string, ready corev1.ConditionStatus) corev1.Node {
		n := corev1.Node{}
		n.Name, n.Labels = name, map[string]string{"kubernetes.io/hostname": name}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		return n
	}
	one, two := []corev1.Node{node("n1", "True")}, []corev1.Node{node("n1", "False"), node("n2", "True")}
	recycle, remove := "persistentVolumeReclaimPolicy: Recycle, "+given1, "persistentVolumeReclaimPolicy: Delete, "+given1
	onN2 := ", nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n2]}]}]}}"
	marked := func(v *corev1.PersistentVolume, key, value string) *corev1.PersistentVolume {
		v.Annotations = map[string]string{key: value}
		return v
	}
	nfs := volume(t, "v", "1Gi", rwo, recycle)
	nfs.Spec.HostPath, nfs.Spec.NFS = nil, &corev1.NFSVolumeSource{Server: "files", Path: "/x"}
	for name, c := range map[string]struct {
		volume *corev1.PersistentVolume
		claim  *corev1.PersistentVolumeClaim
		nodes  []corev1.Node
		want   string
	}{
		"nobody's":                       {volume(t, "v", "1Gi", rwo, ""), nil, nil, "Available"},
		"it waits for a claim":           {volume(t, "v", "1Gi", rwo, mine), nil, nil, "Available"},
		"its claim has it":               {volume(t, "v", "1Gi", rwo, given1), named("v"), nil, "Bound"},
		"its claim does not know yet":    {volume(t, "v", "1Gi", rwo, given1), claim(t, "1Gi", ""), nil, "Bound"},
		"its claim has another":          {volume(t, "v", "1Gi", rwo, given1), named("w"), nil, "Available free"},
		"its claim is gone":              {volume(t, "v", "1Gi", rwo, given1), nil, one, "Released"},
		"to be emptied on the only node": {volume(t, "v", "1Gi", rwo, recycle), nil, one, "Released on=n1"},
		"nobody guesses the node":        {volume(t, "v", "1Gi", rwo, recycle), nil, two, "Failed"},
		"on the node that has it":        {volume(t, "v", "1Gi", rwo, recycle+onN2), nil, two, "Released on=n2"},
		"the node that has it is gone":   {volume(t, "v", "1Gi", rwo, recycle+onN2), nil, one, "Failed"},
		"any ready node reaches NFS":     {nfs, nil, two, "Released on=n2"},
		"emptied":                        {marked(volume(t, "v", "1Gi", rwo, recycle), api.ReclaimedAnnotation, "u1"), nil, one, "Available free"},
		"emptied for another":            {marked(volume(t, "v", "1Gi", rwo, recycle), api.ReclaimedAnnotation, "u0"), nil, one, "Released on=n1"},
		"not emptied":                    {marked(volume(t, "v", "1Gi", rwo, recycle), api.ReclaimErrorAnnotation, "busy"), nil, one, "Failed on=n1"},
		"to be removed":                  {volume(t, "v", "1Gi", rwo, remove), nil, one, "Released on=n1"},
		"removed":                        {marked(volume(t, "v", "1Gi", rwo, remove), api.ReclaimedAnnotation, "u1"), nil, one, "Released delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := DecideVolume(c.volume, c.claim, c.nodes)
			got := string(d.Phase)
			if d.Free {
				got += " free"
			}
			if d.Delete {
				got += " delete"
			}
			if d.Reclaim != "" {
				got += " on=" + d.Reclaim
			}
			if got != c.want || (d.Phase == corev1.VolumeFailed) != (d.Message != "") {
				t.Errorf("%s (%s), want %s", got, d.Message, c.want)
			}
		})
	}
}
