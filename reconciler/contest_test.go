package reconciler

import (
	"testing"
	"time"
)

func TestRepairsOfWhatIsRewrittenComeLaterAndLater(t *testing.T) {
	t.Parallel()
	for repairs, want := range map[int]time.Duration{
		0: 0, 1: 0, 4: 0, 5: time.Second, 6: 2 * time.Second, 9: 16 * time.Second, 14: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		if got := (contest{repairs: repairs}).pause(); got != want {
			t.Errorf("after %d repairs the next comes in %s, want %s", repairs, got, want)
		}
	}
	now := time.Now()
	if !(contest{repairs: 5, last: now.Add(-61 * time.Second)}).over(now) || (contest{repairs: 9, last: now.Add(-61 * time.Second)}).over(now) {
		t.Error("a contest ends when the other one was still for ten pauses, and a minute")
	}
}
