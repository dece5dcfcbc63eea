package image

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func TestPlanTag(t *testing.T) {
	t.Parallel()
	s := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 7}}
	from := func(kind, namespace, name string) imagev1.TagReference {
		return imagev1.TagReference{Name: "live", From: &corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name}}
	}
	scheduled := from("DockerImage", "", "hub.example.com/base/os:1")
	scheduled.ImportPolicy.Scheduled = true
	reference := from("DockerImage", "", "hub.example.com/base/os:1")
	reference.Reference = true
	// known is the memory of the same tag, resolved at generation 3.
	known := func(tag imagev1.TagReference, edit func(*remembered)) remembered {
		w, err := planTag(s, tag, remembered{}, "registry:5000", noon)
		if err != nil {
			t.Fatal(err)
		}
		w.remember.Generation = 3
		if edit != nil {
			edit(&w.remember)
		}
		return w.remember
	}
	own := loop.Key{Namespace: "shop", Name: "web"}
	other := loop.Key{Namespace: "dev", Name: "web"}
	copyTag, importTag := from("ImageStreamTag", "dev", "web:latest"), from("DockerImage", "", "hub.example.com/base/os:1")

	for name, c := range map[string]struct {
		tag        imagev1.TagReference
		before     remembered
		kind       workKind
		stream     loop.Key
		tagOrImage string
		generation int64
		again      time.Duration
	}{
		"no source":                         {tag: imagev1.TagReference{Name: "live"}},
		"another tag of the stream":         {tag: from("ImageStreamTag", "", "latest"), kind: follow, stream: own, tagOrImage: "latest", generation: 7},
		"the same, said in full":            {tag: from("ImageStreamTag", "shop", "web:latest"), kind: follow, stream: own, tagOrImage: "latest", generation: 7},
		"is followed for ever":              {tag: from("ImageStreamTag", "", "latest"), before: known(from("ImageStreamTag", "", "latest"), nil), kind: follow, stream: own, tagOrImage: "latest", generation: 3},
		"another stream's tag is copied":    {tag: copyTag, kind: copied, stream: other, tagOrImage: "latest", generation: 7},
		"once":                              {tag: copyTag, before: known(copyTag, nil), kind: nothing, stream: other, tagOrImage: "latest", generation: 3},
		"again where it was not there":      {tag: copyTag, before: known(copyTag, func(r *remembered) { r.Failed = true }), kind: copied, stream: other, tagOrImage: "latest", generation: 3},
		"an image is pinned for ever":       {tag: from("ImageStreamImage", "dev", "web@"+digest("a")), before: known(from("ImageStreamImage", "dev", "web@"+digest("a")), nil), kind: pin, stream: other, tagOrImage: digest("a"), generation: 3},
		"a reference is recorded":           {tag: reference, kind: record, generation: 7},
		"an outside image is imported":      {tag: importTag, kind: imported, generation: 7},
		"once, too":                         {tag: importTag, before: known(importTag, nil), kind: nothing, generation: 3},
		"a failed import rests":             {tag: importTag, before: known(importTag, func(r *remembered) { r.Failed, r.Checked = true, noon.Add(-20*time.Second) }), kind: nothing, generation: 3, again: 40 * time.Second},
		"and is tried again":                {tag: importTag, before: known(importTag, func(r *remembered) { r.Failed, r.Checked = true, noon.Add(-time.Minute) }), kind: imported, generation: 3},
		"a scheduled import rests":          {tag: scheduled, before: known(scheduled, func(r *remembered) { r.Checked = noon.Add(-5 * time.Minute) }), kind: nothing, generation: 3, again: 10 * time.Minute},
		"and is looked up every 15 minutes": {tag: scheduled, before: known(scheduled, func(r *remembered) { r.Checked = noon.Add(-15 * time.Minute) }), kind: imported, generation: 3},
		"an image of our own registry":      {tag: from("DockerImage", "", "registry:5000/dev/web@"+digest("b")), kind: pin, stream: other, tagOrImage: digest("b"), generation: 7},
		"a tag of our own registry":         {tag: from("DockerImage", "", "registry:5000/dev/web:x"), kind: copied, stream: other, tagOrImage: "x", generation: 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := planTag(s, c.tag, c.before, "registry:5000", noon)
			if err != nil {
				t.Fatal(err)
			}
			if w.kind != c.kind || w.stream != c.stream || w.tag+w.image != c.tagOrImage || w.remember.Generation != c.generation || w.again != c.again {
				t.Errorf("got %+v", w)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	var s imagev1.ImageStreamStatus
	event := func(image string, generation int64) imagev1.TagEvent {
		return imagev1.TagEvent{DockerImageReference: "r@" + image, Image: image, Generation: generation}
	}
	addFailure(&s, "live", 1, "NotFound", "no", noon)
	addFailure(&s, "live", 1, "NotFound", "no", noon.Add(time.Hour))
	if c := s.Tags[0].Conditions; len(c) != 1 || !c[0].LastTransitionTime.Time.Equal(noon) || c[0].Status != corev1.ConditionFalse {
		t.Errorf("conditions %+v", c)
	}
	addEvent(&s, "live", event("a", 1))
	addEvent(&s, "live", event("b", 2))
	addEvent(&s, "live", event("b", 3))
	addEvent(&s, "live", event("a", 4))
	var got []string
	for _, e := range s.Tags[0].Items {
		got = append(got, fmt.Sprint(e.Image, e.Generation))
	}
	if !slices.Equal(got, []string{"a4", "b3", "a1"}) || len(s.Tags[0].Conditions) != 0 {
		t.Errorf("history %v, conditions %v", got, s.Tags[0].Conditions)
	}
	for i := range 2 * historyLimit {
		addEvent(&s, "live", event(fmt.Sprint(i), 1))
	}
	if n := len(s.Tags[0].Items); n != historyLimit {
		t.Errorf("history holds %d events", n)
	}
}

func TestReact(t *testing.T) {
	t.Parallel()
	trigger := func(tag, last string, automatic bool, containers ...string) appsv1.DeploymentTriggerPolicy {
		return appsv1.DeploymentTriggerPolicy{Type: appsv1.DeploymentTriggerOnImageChange, ImageChangeParams: &appsv1.DeploymentTriggerImageChangeParams{
			Automatic: automatic, ContainerNames: containers, LastTriggeredImage: last, From: corev1.ObjectReference{Kind: "ImageStreamTag", Name: tag},
		}}
	}
	for name, c := range map[string]struct {
		triggers []appsv1.DeploymentTriggerPolicy
		known    map[string]string
		// want are the images of init, web, side and the triggers' last images.
		want    string
		changed bool
	}{
		"a new image goes where it is named":   {[]appsv1.DeploymentTriggerPolicy{trigger("web:1", "", true, "web", "init")}, map[string]string{"shop/web:1": "W"}, "W W - W", true},
		"two triggers":                         {[]appsv1.DeploymentTriggerPolicy{trigger("web:1", "", true, "web"), trigger("side:1", "", true, "side")}, map[string]string{"shop/web:1": "W", "shop/side:1": "S"}, "- W S W S", true},
		"one without an image holds back both": {[]appsv1.DeploymentTriggerPolicy{trigger("web:1", "", true, "web"), trigger("side:1", "", true, "side")}, map[string]string{"shop/web:1": "W"}, "- - -  ", false},
		"unless it had one before":             {[]appsv1.DeploymentTriggerPolicy{trigger("web:1", "", true, "web"), trigger("side:1", "S", true, "side")}, map[string]string{"shop/web:1": "W"}, "- W - W S", true},
		"not automatic":                        {[]appsv1.DeploymentTriggerPolicy{trigger("web:1", "", false, "web")}, map[string]string{"shop/web:1": "W"}, "- - - ", false},
		"a container put back by hand":         {[]appsv1.DeploymentTriggerPolicy{trigger("web:1", "W", true, "web")}, map[string]string{"shop/web:1": "W"}, "- W - W", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dc := &appsv1.DeploymentConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
			dc.Spec.Triggers = c.triggers
			dc.Spec.Template = &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{{Name: "init", Image: "-"}},
				Containers:     []corev1.Container{{Name: "web", Image: "-"}, {Name: "side", Image: "-"}},
			}}
			resolve := func(s api.StreamTag) (string, bool) { ref, ok := c.known[s.String()]; return ref, ok }
			changed := React(dc, resolve)
			p := dc.Spec.Template.Spec
			got := []string{p.InitContainers[0].Image, p.Containers[0].Image, p.Containers[1].Image}
			for _, t := range dc.Spec.Triggers {
				got = append(got, t.ImageChangeParams.LastTriggeredImage)
			}
			if strings.Join(got, " ") != c.want || changed != c.changed {
				t.Errorf("got %q, %v, want %q, %v", strings.Join(got, " "), changed, c.want, c.changed)
			}
			if changed && React(dc, resolve) {
				t.Error("what is in place changes again")
			}
		})
	}
}

func TestNextTag(t *testing.T) {
	t.Parallel()
	tags := []v1alpha1.GitTag{{Name: "v1.0", Commit: "a"}, {Name: "v1.10.0", Commit: "c"}, {Name: "v1.9", Commit: "b"}, {Name: "latest"}, {Name: "v2.0.0-rc1"}}
	for _, c := range []struct{ within, last, want string }{
		{"", "", "v1.10.0"},
		{"<1.10", "", "v1.9"},
		{">=0.0.0", "v1.9", "v1.10.0"},
		{">=0.0.0", "v1.10.0", ""},
		{">=0.0.0", "v3.0", ""},
		{"<1.10", "v1.10.0", ""},
		{">=2", "", ""},
		{">=0.0.0-0", "", "v2.0.0-rc1"},
	} {
		got, err := NextTag(tags, c.within, c.last)
		name := ""
		if got != nil {
			name = got.Name
		}
		if err != nil || name != c.want {
			t.Errorf("in %q after %q: %q, %v, want %q", c.within, c.last, name, err, c.want)
		}
	}
	if _, err := NextTag(tags, "about one", ""); err == nil {
		t.Error("a range that is none was taken")
	}
}

func TestRelock(t *testing.T) {
	t.Parallel()
	images := map[string]v1alpha1.LockedImage{"web:live": {From: "dev/web", Digest: digest("a"), Commit: "c1", Tag: "v1.0"}}
	first, err := Relock(nil, images)
	want := `{
  "images": {
    "web:live": {
      "from": "dev/web",
      "digest": "` + digest("a") + `",
      "commit": "c1",
      "tag": "v1.0"
    }
  }
}
`
	if err != nil || string(first) != want {
		t.Fatalf("%v\n%s", err, first)
	}
	images["web:live"] = v1alpha1.LockedImage{From: "dev/web", Digest: digest("b"), Commit: "c1", Tag: "v1.0"}
	if again, err := Relock(first, images); err != nil || again != nil {
		t.Errorf("what the file says already is written again: %s, %v", again, err)
	}
	second, err := Relock(first, map[string]v1alpha1.LockedImage{"api:live": {From: "dev/api", Digest: digest("c"), Commit: "c2", Tag: "v1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := ParseLock(second)
	if err != nil || len(lock.Images) != 2 || lock.Images["web:live"].Digest != digest("a") {
		t.Errorf("%+v, %v", lock, err)
	}
	if strings.Index(string(second), "api:live") > strings.Index(string(second), "web:live") {
		t.Error("the file is not sorted")
	}
	for _, bad := range []string{"[]", "{", `{"images":{}} x`, `{"pictures":{}}`, `{"images":{"a:b":{"digests":"x"}}}`} {
		if _, err := Relock([]byte(bad), images); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(`{"images":{"web:live":{"from":"dev/web","digest":"sha256:0"}}}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, content []byte) {
		lock, err := ParseLock(content)
		if err != nil {
			return
		}
		out, err := FormatLock(lock)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseLock(out)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
		if len(lock.Images) > 0 && !reflect.DeepEqual(lock, again) {
			t.Fatalf("%+v became %+v", lock, again)
		}
	})
}

func FuzzNewImage(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"sha256:1","size":3},"layers":[{"digest":"sha256:2","size":4}]}`), []byte(`{"config":{"Labels":{"a":"b"}}}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		image, err := newImage("r@d", "d", "m", manifest, config)
		if err != nil {
			return
		}
		if _, err := api.ImageLabels(image); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReferences(t *testing.T) {
	t.Parallel()
	var r references
	a, b, x, y := loop.Key{Name: "a"}, loop.Key{Name: "b"}, loop.Key{Name: "x"}, loop.Key{Name: "y"}
	r.note(a, x, y)
	r.note(b, x)
	if got := r.of(x); len(got) != 2 {
		t.Errorf("x wakes %v", got)
	}
	r.note(a, y)
	if got := r.of(x); !slices.Equal(got, []loop.Key{b}) {
		t.Errorf("x wakes %v", got)
	}
	r.note(a)
	r.note(b)
	if len(r.to)+len(r.from) != 0 {
		t.Errorf("left over: %v %v", r.to, r.from)
	}
}
