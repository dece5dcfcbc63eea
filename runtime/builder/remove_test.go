package builder

import (
	"slices"
	"testing"

	"github.com/docker/docker/api/types/image"
)

func TestRemoveKnowsItsOwn(t *testing.T) {
	t.Parallel()
	const host = "127.0.0.1:7081"
	configs := []string{"shop/app"}
	for name, c := range map[string]struct {
		image image.Summary
		want  []string
	}{
		"pulled":          {image.Summary{RepoTags: []string{"<none>:<none>"}, RepoDigests: []string{host + "/shop/app@sha256:1"}}, []string{host + "/shop/app@sha256:1"}},
		"another's":       {image.Summary{RepoTags: []string{"127.0.0.1:70811/shop/app:latest", "app:latest"}}, nil},
		"cache":           {image.Summary{ID: "sha256:2", RepoTags: []string{"<none>:<none>"}, Labels: map[string]string{labelConfig: "shop/app"}}, []string{"sha256:2"}},
		"another's cache": {image.Summary{ID: "sha256:3", Labels: map[string]string{labelConfig: "other/app"}}, nil},
		"nobody's":        {image.Summary{ID: "sha256:4"}, nil},
	} {
		if got := references(c.image, host, configs); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
