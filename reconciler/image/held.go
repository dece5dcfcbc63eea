package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// reasonHeld is the reason of a promotion that a hold on an image forbids.
const reasonHeld = "Held"

// heldLook is how soon it is looked whether a hold has ended. One that a commit lifts in
// the repository that is written to wakes the promotion.
const heldLook = time.Minute

// errHeld says that an image may not be promoted.
var errHeld = errors.New("is held")

// heldBy refuses images on which one of the holds is.
func heldBy(holds []v1alpha1.Hold, images map[string]v1alpha1.LockedImage, now time.Time) error {
	for _, name := range slices.Sorted(maps.Keys(images)) {
		h, held := api.HeldDigest(holds, images[name].Digest, now)
		if !held {
			continue
		}
		why := ""
		if h.Reason != "" {
			why = ": " + h.Reason
		}
		return fmt.Errorf("%s would get the image %s, which %w%s", name, short(images[name].Digest), errHeld, why)
	}
	return nil
}

// heldInTree refuses images that the holds beside the lock file name, at the very commit
// that would be built on: no automation is faster than a hold.
func (c *promotions) heldInTree(tree fs.FS, lock string, images map[string]v1alpha1.LockedImage) error {
	holds, err := api.HoldsIn(tree, path.Dir(lock))
	if err != nil {
		return err
	}
	return heldBy(holds, images, c.Clock())
}

// heldByApplications refuses images that an Application of the project holds.
func (c *promotions) heldByApplications(ctx context.Context, project string, images map[string]v1alpha1.LockedImage) error {
	var apps v1alpha1.ApplicationList
	if err := c.Client.List(ctx, &apps); err != nil {
		return fmt.Errorf("read the applications: %w", err)
	}
	for _, app := range apps.Items {
		if app.Spec.Project != project && app.Namespace != project {
			continue
		}
		if err := heldBy(app.Spec.Holds, images, c.Clock()); err != nil {
			return fmt.Errorf("application %s: %w", app.Name, err)
		}
	}
	return nil
}

// again is when to look at a promotion the next time by the clock.
func again(s *v1alpha1.PromotionStatus) loop.Result {
	if ready := meta.FindStatusCondition(s.Conditions, "Ready"); ready != nil && ready.Reason == reasonHeld {
		return loop.Result{After: heldLook}
	}
	return loop.Result{}
}
