package runtime

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the kernel's unit of time in /proc/stat: USER_HZ, which is 100 on every
// architecture that Linux shows to programs (proc_stat(5)).
const tick = 10 * time.Millisecond

// NodeMetrics is what everything on the machine uses, its pods or not.
type NodeMetrics struct {
	// CPU is in nanocores.
	CPU int64
	// Memory is what is not available to new processes, in bytes.
	Memory int64
}

// NodeMetrics reads the machine's counters; see [Agent.PodMetrics] for over what time.
func (a *Agent) NodeMetrics(ctx context.Context) (NodeMetrics, error) {
	found, err := a.meter.measure(ctx, []string{""}, func(context.Context, string) (usage, error) {
		stat, err := os.ReadFile("/proc/stat")
		if err != nil {
			return usage{}, err
		}
		memory, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			return usage{}, err
		}
		return machine(string(stat), string(memory), time.Now())
	})
	if err != nil {
		return NodeMetrics{}, fmt.Errorf("metrics of node %s: %w", a.Node, err)
	}
	return NodeMetrics{CPU: found[""].rate, Memory: found[""].memory}, nil
}

// machine reads the counters out of /proc/stat and /proc/meminfo. The first line of
// the former is: cpu user nice system idle iowait irq softirq steal guest guest_nice;
// the guests' time is in the user's, too.
func machine(stat, meminfo string, now time.Time) (usage, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return usage{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	u := usage{at: now}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("/proc/stat: %w", err)
		}
		if idle := i == 3 || i == 4; !idle {
			u.cpu += n * uint64(tick)
		}
	}
	total, err := kilobytes(meminfo, "MemTotal")
	if err != nil {
		return usage{}, err
	}
	available, err := kilobytes(meminfo, "MemAvailable")
	u.memory = total - available
	return u, err
}

// memoryFree is what new processes could have, in bytes.
func memoryFree() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	return kilobytes(string(b), "MemAvailable")
}

// kilobytes is a line of /proc/meminfo, in bytes.
func kilobytes(meminfo, name string) (int64, error) {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, err := strconv.ParseInt(f[0], 10, 64)
				return n << 10, err
			}
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", name)
}
