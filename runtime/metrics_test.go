package runtime

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

func TestTheMachinesCounters(t *testing.T) {
	t.Parallel()
	stat := "cpu  100 20 30 4000 500 6 7 8 50 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	u, err := machine(stat, "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     300 kB\n", epoch)
	if err != nil || u.cpu != 1710*uint64(time.Millisecond) || u.memory != 700<<10 {
		t.Errorf("%+v, %v", u, err)
	}
	for _, bad := range [][2]string{{"", "MemTotal: 1 kB\nMemAvailable: 1 kB\n"}, {stat, "MemTotal: 1 kB\n"}, {stat, ""}, {"cpu a b c d e f g h i j\n", ""}} {
		if _, err := machine(bad[0], bad[1], epoch); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestTheWorkingSetIsWithoutTheCacheThatCouldGo(t *testing.T) {
	t.Parallel()
	for want, m := range map[int64]container.MemoryStats{
		70: {Usage: 100, Stats: map[string]uint64{"total_inactive_file": 30, "inactive_file": 1}},
		60: {Usage: 100, Stats: map[string]uint64{"inactive_file": 40}},
		0:  {Usage: 10, Stats: map[string]uint64{"inactive_file": 40}},
	} {
		if got := workingSet(m); got != want {
			t.Errorf("%+v: %d, not %d", m, got, want)
		}
	}
}

func TestRatesAreSinceTheReadingBefore(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	step, gone := time.Duration(0), false
	read := func(_ context.Context, id string) (usage, error) {
		if gone && id == "b" {
			return usage{}, errGone
		}
		step += 2 * time.Second
		return usage{at: begin.Add(step), cpu: uint64(step) / 2}, nil
	}
	var m meter
	for _, want := range []int64{5e8, 5e8} {
		got, err := m.measure(t.Context(), []string{"a"}, read)
		if err != nil || got["a"].rate != want {
			t.Errorf("rate %+v, %v", got, err)
		}
	}
	gone = true
	if got, err := m.measure(t.Context(), []string{"a", "b"}, read); err != nil || len(got) != 1 {
		t.Errorf("with one that is gone: %+v, %v", got, err)
	}
}
