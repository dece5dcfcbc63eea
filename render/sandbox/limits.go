package sandbox

import (
	"strconv"
	"time"
)

// Limits bound one job. Zero values take the defaults.
type Limits struct {
	// Memory the child may use, in bytes; default 256 MiB.
	Memory int64
	// CPU is the processor time of one job; default 10 s.
	CPU time.Duration
	// Wall is the time that one job may take by the clock; default 20 s.
	Wall time.Duration
	// Output is the size of a result, in bytes; default 32 MiB.
	Output int64
}

// WithDefaults fills in what is not set.
func (l Limits) WithDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = 256 << 20
	}
	if l.CPU == 0 {
		l.CPU = 10 * time.Second
	}
	if l.Wall == 0 {
		l.Wall = 20 * time.Second
	}
	if l.Output == 0 {
		l.Output = 32 << 20
	}
	return l
}

// The child is told its limits by its environment, which holds nothing else of ours.
const (
	envMemory = "SLIPWAY_RENDER_MEMORY"
	envCPU    = "SLIPWAY_RENDER_CPU"
	envOutput = "SLIPWAY_RENDER_OUTPUT"
)

func (l Limits) environment() []string {
	return []string{
		envMemory + "=" + strconv.FormatInt(l.Memory, 10),
		envCPU + "=" + l.CPU.String(),
		envOutput + "=" + strconv.FormatInt(l.Output, 10),
		"GOTRACEBACK=none", "GOMAXPROCS=2",
	}
}

func limitsFrom(getenv func(string) string) Limits {
	var l Limits
	l.Memory, _ = strconv.ParseInt(getenv(envMemory), 10, 64)
	l.CPU, _ = time.ParseDuration(getenv(envCPU))
	l.Output, _ = strconv.ParseInt(getenv(envOutput), 10, 64)
	return l.WithDefaults()
}
