package reconciler

import (
	"slices"
	"strings"
)

// imagesOf lists the digests of images that the objects of creations and changes name, as
// `object=image@digest`. Where a trigger sets the image, it is the one that is live.
func imagesOf(steps []Step) []string {
	var out []string
	for _, s := range steps {
		if s.Action == Prune || sealed(s.desired) {
			continue
		}
		var found []string
		images(s.desired.Object["spec"], &found)
		if s.live != nil && carries(s.desired) {
			images(s.live.Object["spec"], &found)
		}
		slices.Sort(found)
		for _, image := range slices.Compact(found) {
			if len(out) == maxImages {
				return out
			}
			out = append(out, s.Object+"="+image)
		}
	}
	return out
}

// images collects the values of fields called image that end in a digest.
func images(v any, out *[]string) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			images(one, out)
		}
	case map[string]any:
		for k, one := range v {
			if s, ok := one.(string); ok && k == "image" && strings.Contains(s, "@sha256:") {
				*out = append(*out, s)
			}
			images(one, out)
		}
	}
}
