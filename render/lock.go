package render

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

var (
	lockKey    = regexp.MustCompile(`^([a-z0-9]([-._a-z0-9]*[a-z0-9])?):([\w][-.\w]{0,127})$`)
	lockFrom   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)/([a-z0-9]([-._a-z0-9]*[a-z0-9])?)$`)
	lockDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// readLock decodes images.lock.json strictly. Each problem's Field is its path.
func readLock(m map[string]any) (v1alpha1.ImagesLock, api.Problems) {
	lock := v1alpha1.ImagesLock{Images: map[string]v1alpha1.LockedImage{}}
	var problems api.Problems
	wrong := func(at, format string, args ...any) {
		problems = append(problems, api.Problem{Field: at, Message: fmt.Sprintf(format, args...)})
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k != "images" {
			wrong(k, "unknown field%s", suggest(k, []string{"images"}))
		}
	}
	images, ok := m["images"].(map[string]any)
	if !ok {
		wrong("images", "must be an object that maps stream:tag to an image")
	}
	for _, key := range slices.Sorted(maps.Keys(images)) {
		at := "images." + key
		if !lockKey.MatchString(key) {
			wrong(at, "%q is not stream:tag", key)
		}
		in, ok := images[key].(map[string]any)
		if !ok {
			wrong(at, "must be an object with from and digest")
			continue
		}
		var image v1alpha1.LockedImage
		fields := map[string]*string{"from": &image.From, "digest": &image.Digest, "commit": &image.Commit, "tag": &image.Tag}
		for _, k := range slices.Sorted(maps.Keys(in)) {
			into, known := fields[k]
			if !known {
				wrong(at+"."+k, "unknown field%s", suggest(k, slices.Sorted(maps.Keys(fields))))
			} else if *into, ok = in[k].(string); !ok {
				wrong(at+"."+k, "must be a string")
			}
		}
		if !lockFrom.MatchString(image.From) {
			wrong(at+".from", "must be project/stream")
		}
		if !lockDigest.MatchString(image.Digest) {
			wrong(at+".digest", "must be sha256: and 64 hexadecimal digits")
		}
		lock.Images[key] = image
	}
	return lock, problems
}

// applyLock points the tags that a lock file names at their images. It holds for the
// streams that come from its folder or below.
func (r *rendering) applyLock(s source) {
	for _, d := range s.documents {
		lock, problems := readLock(d.Object)
		o := api.Origin{File: s.file, Line: d.Line, FieldLines: d.Lines}
		for _, p := range problems {
			p.File, p.Line = s.file, o.LineOf(p.Field)
			r.problems = append(r.problems, p)
		}
		if len(problems) > 0 {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(lock.Images)) {
			if why := r.pin(path.Dir(s.file), key, lock.Images[key]); why != "" {
				r.problems = append(r.problems, api.Problem{File: s.file, Line: o.LineOf("images." + key), Field: "images." + key, Message: why})
			}
		}
	}
}

// pin sets one tag. It returns what is wrong, if anything is.
func (r *rendering) pin(dir, key string, image v1alpha1.LockedImage) string {
	name, tag, _ := strings.Cut(key, ":")
	var found []*api.DesiredObject
	var others []string
	for i := range r.objects {
		o := &r.objects[i]
		if o.GetKind() != "ImageStream" || (dir != "." && !strings.HasPrefix(o.Origin.File, dir+"/")) {
			continue
		}
		if o.GetName() == name {
			found = append(found, o)
		}
		others = append(others, o.GetName())
	}
	switch {
	case len(found) == 0 && !r.whole:
		return ""
	case len(found) == 0:
		return fmt.Sprintf("there is no ImageStream %s here%s", name, suggest(name, others))
	case len(found) > 1 && found[0].GetNamespace() != found[1].GetNamespace():
		return fmt.Sprintf("ImageStream %s is in project %s and in project %s: put the lock file beside the one it is for", name, found[0].GetNamespace(), found[1].GetNamespace())
	}
	project, stream, _ := strings.Cut(image.From, "/")
	from := map[string]any{"kind": "ImageStreamImage", "namespace": project, "name": stream + "@" + image.Digest}
	// What a file gave may be kept, and is not to be changed.
	found[0].Unstructured = found[0].DeepCopy()
	if !setTag(found[0].Object, tag, from) {
		return fmt.Sprintf("tag %s of ImageStream %s cannot be set: spec.tags is not a list of tags", tag, name)
	}
	return ""
}

// setTag sets where a stream's tag comes from, adding the tag if it is not there.
func setTag(stream map[string]any, tag string, from map[string]any) bool {
	if stream["spec"] == nil {
		stream["spec"] = map[string]any{}
	}
	spec, ok := stream["spec"].(map[string]any)
	if !ok {
		return false
	}
	tags, ok := spec["tags"].([]any)
	if !ok && spec["tags"] != nil {
		return false
	}
	for _, t := range tags {
		m, ok := t.(map[string]any)
		if !ok {
			return false
		}
		if m["name"] == tag {
			m["from"] = from
			return true
		}
	}
	spec["tags"] = append(tags, map[string]any{"name": tag, "from": from})
	return true
}
