package gate

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Closed says why no plan is carried out at a time, and when that ends by itself (zero:
// within the next year it does not). Empty: plans are carried out. Deny beats allow; any
// allow window closes all other time.
func Closed(windows []v1alpha1.Window, at time.Time) (why string, until time.Time, err error) {
	spans, err := compile(windows)
	if err != nil || len(spans) == 0 {
		return "", time.Time{}, err
	}
	t := at
	// Each turn ends one span or waits for the next one: so many in a row never open.
	for range maxTurns {
		said, next := spans.closedAt(t)
		if said == "" {
			if t.Equal(at) {
				return "", time.Time{}, nil
			}
			return why, t, nil
		}
		if why == "" {
			why = said
		}
		if next.IsZero() || next.Sub(at) > horizon {
			return why, time.Time{}, nil
		}
		t = next
	}
	return why, time.Time{}, nil
}

const (
	maxTurns = 1000
	// horizon is how far windows are looked ahead.
	horizon = 366 * 24 * time.Hour
)

type spans []span

// span is a recurring span of time.
type span struct {
	v1alpha1.Window
	schedule cron.Schedule
	zone     *time.Location
}

func compile(windows []v1alpha1.Window) (spans, error) {
	var out spans
	for i, w := range windows {
		schedule, err := api.ParseSchedule(w.Schedule)
		if err != nil {
			return nil, fmt.Errorf("spec.windows[%d].schedule: %w", i, err)
		}
		zone, err := time.LoadLocation(w.TimeZone)
		if err != nil {
			return nil, fmt.Errorf("spec.windows[%d].timeZone: %w", i, err)
		}
		out = append(out, span{w, schedule, zone})
	}
	return out, nil
}

// closedAt says why it is closed at a time, and when to look again.
func (all spans) closedAt(t time.Time) (why string, next time.Time) {
	allows := false
	var opens time.Time
	for _, s := range all {
		end, in := s.covers(t)
		switch {
		case s.Kind == v1alpha1.WindowDeny && in:
			return "the deny window " + s.name() + " is open", end
		case s.Kind == v1alpha1.WindowAllow && in:
			allows = true
		case s.Kind == v1alpha1.WindowAllow:
			if begin := s.next(t); !begin.IsZero() && (opens.IsZero() || begin.Before(opens)) {
				opens = begin
			}
		}
	}
	if allows || !all.anyAllow() {
		return "", time.Time{}
	}
	return "no allow window is open", opens
}

func (all spans) anyAllow() bool {
	for _, s := range all {
		if s.Kind == v1alpha1.WindowAllow {
			return true
		}
	}
	return false
}

func (s span) name() string {
	name := fmt.Sprintf("%q for %s", s.Schedule, s.Duration.Duration)
	if s.TimeZone != "" {
		name += " " + s.TimeZone
	}
	return name
}

// covers says whether the span is open at a time, and when the opening that began first ends.
func (s span) covers(t time.Time) (end time.Time, in bool) {
	d := s.Duration.Duration
	begin := s.next(t.Add(-d))
	if begin.IsZero() || begin.After(t) {
		return time.Time{}, false
	}
	return begin.Add(d), true
}

// next is the first beginning after a time; zero: there is none. A beginning at an hour
// that the clock leaps over is at the leap; one in an hour that it repeats is there twice.
func (s span) next(after time.Time) time.Time {
	after = after.In(s.zone)
	regular := s.schedule.Next(after)
	limit := after.Add(horizon)
	if !regular.IsZero() && regular.Before(limit) {
		limit = regular
	}
	for t := after; ; {
		_, leap := t.ZoneBounds()
		if leap.IsZero() || leap.After(limit) {
			return regular
		}
		if s.leapt(leap) && leap.After(after) {
			return leap
		}
		t = leap
	}
}

// leapt says whether a beginning is among the hours that the clock leaps over at a time.
func (s span) leapt(leap time.Time) bool {
	_, before := leap.Add(-time.Second).In(s.zone).Zone()
	_, after := leap.In(s.zone).Zone()
	if after <= before {
		return false
	}
	// The clock's reading at the leap, as if the leap were not.
	reading := leap.Add(time.Duration(before) * time.Second).UTC()
	begin := naive(s.schedule).Next(reading.Add(-time.Second))
	return !begin.IsZero() && begin.Before(reading.Add(time.Duration(after-before)*time.Second))
}

// naive is a schedule read against a clock that never leaps.
func naive(s cron.Schedule) cron.Schedule {
	if spec, ok := s.(*cron.SpecSchedule); ok {
		plain := *spec
		plain.Location = time.UTC
		return &plain
	}
	return s
}
