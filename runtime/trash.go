package runtime

import (
	"fmt"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/state/loop"
)

func (a *Agent) removeFiles(key loop.Key, act Action) error {
	remove := a.files.remove
	if act.Verb == ClearFiles {
		remove = a.files.clear
	}
	if err := remove(key, types.UID(act.Name)); err != nil {
		return fmt.Errorf("pod %s: %w", key, err)
	}
	a.emptyTrash()
	return nil
}

// litter says when there is something in the trash.
type litter struct {
	wake chan struct{}
	// going is true while the trash is emptied.
	going atomic.Bool
}

// emptyTrash removes what pods left, beside everything else: a volume may hold millions of
// files. One at a time does, and nobody waits for it, the end of the agent neither: what is
// left then the next agent removes.
func (a *Agent) emptyTrash() {
	select {
	case a.litter.wake <- struct{}{}:
	default: // It is about to look again.
	}
}

func (a *Agent) sweepTrash() {
	for {
		a.litter.going.Store(true)
		if err := a.files.empty(); err != nil {
			a.Log.Warn("remove what pods left", "error", err)
		}
		a.litter.going.Store(false)
		select {
		case <-a.ctx.Done():
			return
		case <-a.litter.wake:
		}
	}
}
