package job

import (
	"time"

	"github.com/robfig/cron/v3"
)

// manyMissed is from how many missed runs on people are told.
const manyMissed = 100

// due is the last time of a schedule after since and not after now; zero: there is none. missed
// is how many times there were, at most manyMissed+1.
func due(s cron.Schedule, since, now time.Time) (last time.Time, missed int) {
	if every, ok := s.(cron.ConstantDelaySchedule); ok {
		n := int64(now.Sub(since) / every.Delay)
		if n <= 0 {
			return time.Time{}, 0
		}
		return since.Truncate(time.Second).Add(time.Duration(n) * every.Delay), int(min(n, manyMissed+1))
	}
	for t := s.Next(since); !t.IsZero() && !t.After(now); t = s.Next(t) {
		last = t
		if missed++; missed > manyMissed {
			return latest(s, since, now), missed
		}
	}
	return last, missed
}

// latest finds the last time of a schedule up to now by looking ever further back, so that a year
// of missed minutes takes no longer than an hour of them.
func latest(s cron.Schedule, since, now time.Time) (last time.Time) {
	for back := time.Minute; last.IsZero(); back *= 2 {
		from := now.Add(-back)
		if from.Before(since) {
			from = since
		}
		for t := s.Next(from); !t.IsZero() && !t.After(now); t = s.Next(t) {
			last = t
		}
		if from.Equal(since) {
			break
		}
	}
	return last
}
