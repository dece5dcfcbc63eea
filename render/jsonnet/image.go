package jsonnet

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"

	"slipway.dev/slipway/api/v1alpha1"
)

var imageReference = regexp.MustCompile(`^(?:([a-z0-9][-a-z0-9]*)/)?([a-z0-9][-._a-z0-9]*)(?::([\w][-.\w]{0,127})|@(sha256:[0-9a-f]{64}))?$`)

// image turns `[project/]stream[:tag]` or `[project/]stream@digest` into a reference.
func image(ref string) (any, error) {
	m := imageReference.FindStringSubmatch(ref)
	if m == nil {
		return nil, fmt.Errorf("image: %q is not [project/]stream[:tag] or [project/]stream@sha256:digest", ref)
	}
	out := map[string]any{"kind": "ImageStreamTag", "name": m[2] + ":" + m[3]}
	switch {
	case m[4] != "":
		out["kind"], out["name"] = "ImageStreamImage", m[2]+"@"+m[4]
	case m[3] == "":
		out["name"] = m[2] + ":latest"
	}
	if m[1] != "" {
		out["namespace"] = m[1]
	}
	return out, nil
}

// lockFile is the name of the file that says what promoted tags point at.
const lockFile = "images.lock.json"

// lockedImage is the image that a tag, `stream[:tag]`, is promoted to: a reference by
// digest, out of the lock file beside the evaluated file or in a folder above it; null
// where none holds the tag.
func (n *natives) lockedImage(tag any) (any, error) {
	name, ok := tag.(string)
	if !ok {
		return nil, fmt.Errorf("lockedImage: the tag must be a string, stream:tag")
	}
	if !strings.Contains(name, ":") {
		name += ":latest"
	}
	for dir := path.Dir(n.file); ; dir = path.Dir(dir) {
		at := path.Join(dir, lockFile)
		data, found, err := n.host.Read(at)
		if err != nil {
			return nil, fmt.Errorf("lockedImage: %s: %w", at, err)
		}
		if found {
			var lock v1alpha1.ImagesLock
			if err := json.Unmarshal(data, &lock); err != nil {
				return nil, fmt.Errorf("lockedImage: %s: %w", at, err)
			}
			if locked, ok := lock.Images[name]; ok {
				return image(locked.From + "@" + locked.Digest)
			}
		}
		if dir == "." {
			return nil, nil
		}
	}
}
