package render

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestSlowApplicationsLeaveAChildToTheOthers(t *testing.T) {
	t.Parallel()
	l := newLanes(2)
	enter := func(application string) func(bool) {
		t.Helper()
		leave, err := l.enter(t.Context(), application)
		if err != nil {
			t.Fatalf("%s: %v", application, err)
		}
		return leave
	}
	// Nobody is slow before having been it.
	a, b := enter("bomb"), enter("bomb2")
	a(true)
	b(true)

	working := enter("bomb")
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.enter(soon, "bomb2"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second slow one got a child: %v", err)
	}
	enter("good")(false)
	working(false)

	// What was quick is not slow any more.
	other := enter("bomb2")
	enter("bomb")(false)
	other(true)
	if !l.slow["bomb2"] || l.slow["bomb"] || l.slow["good"] {
		t.Errorf("slow: %v", l.slow)
	}
}
