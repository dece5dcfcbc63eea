package sources

import (
	"cmp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"slipway.dev/slipway/api/v1alpha1"
)

// maxTags bounds status.tags: live state holds objects of limited size.
const maxTags = 1000

// tags lists a repository's tags for its status: versions first, the highest on top,
// then the others by name, backwards, since names that hold dates or numbers grow.
func tags(r refs) []v1alpha1.GitTag {
	type tag struct {
		v1alpha1.GitTag
		version *semver.Version
	}
	var all []tag
	for name := range r.names {
		short, ok := strings.CutPrefix(name, "refs/tags/")
		if !ok {
			continue
		}
		h, _ := r.commit(name)
		t := tag{GitTag: v1alpha1.GitTag{Name: short, Commit: h.String()}}
		if v, err := semver.NewVersion(short); err == nil {
			t.version = v
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b tag) int {
		switch {
		case a.version != nil && b.version != nil:
			return cmp.Or(b.version.Compare(a.version), strings.Compare(a.Name, b.Name))
		case a.version != nil:
			return -1
		case b.version != nil:
			return 1
		}
		return strings.Compare(b.Name, a.Name)
	})
	var list []v1alpha1.GitTag
	for _, t := range all[:min(len(all), maxTags)] {
		list = append(list, t.GitTag)
	}
	return list
}
