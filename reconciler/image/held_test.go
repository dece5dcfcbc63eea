package image

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

func TestHeldImagesAreNotPromoted(t *testing.T) {
	t.Parallel()
	bad, good := "sha256:"+strings.Repeat("b", 64), "sha256:"+strings.Repeat("a", 64)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	c := &promotions{Deps: Deps{Clock: func() time.Time { return now }}}
	past := metav1.NewTime(now)
	for name, x := range map[string]struct {
		holds  []v1alpha1.Hold
		digest string
		held   bool
	}{
		"no holds": {nil, bad, false}, "another image": {[]v1alpha1.Hold{{Digest: bad}}, good, false},
		"held": {[]v1alpha1.Hold{{Digest: good}, {Digest: bad, Reason: "leaks"}}, bad, true}, "no longer": {[]v1alpha1.Hold{{Digest: bad, Until: &past}}, bad, false},
		"a commit is held": {[]v1alpha1.Hold{{Commit: strings.Repeat("1", 40)}}, bad, false},
	} {
		content, err := api.FormatHolds(x.holds)
		if err != nil {
			t.Fatal(err)
		}
		tree := fstest.MapFS{"projects/shop-prod/.holds.json": {Data: content}}
		err = c.heldInTree(tree, "projects/shop-prod/images.lock.json", map[string]v1alpha1.LockedImage{"api:live": {Digest: x.digest}})
		if errors.Is(err, errHeld) != x.held || x.held && !strings.Contains(err.Error(), "api:live would get the image sha256:bbbbbbbbbbbb, which is held: leaks") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
