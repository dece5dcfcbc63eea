package sandbox

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The statuses a child ends with when its processor time is up, or its memory.
const (
	exitCPU    = 90
	exitMemory = 91
)

// confine takes from this process everything that evaluating needs not. It is called
// before anything is read, and cannot be undone.
func confine(l Limits) error {
	// Deep recursion ends at once instead of after a gigabyte. A stack grows by being
	// copied to one of twice the size, so that several times its size must fit.
	debug.SetMaxStack(int(min(l.Memory/8, 64<<20)))
	// Short work needs little collecting; near the limit there is much of it.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(l.Memory / 4 * 3)
	// The kernel's limit is the wall behind the watch: a Go program that runs into it may
	// crash in ways that do not tell why.
	memory := uint64(l.Memory)*2 + uint64(dataNow())
	for _, r := range []struct {
		resource int
		max      uint64
	}{{unix.RLIMIT_DATA, memory}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, 0}} {
		if err := unix.Setrlimit(r.resource, &unix.Rlimit{Cur: r.max, Max: r.max}); err != nil {
			return fmt.Errorf("setrlimit %d: %w", r.resource, err)
		}
	}
	overtime := make(chan os.Signal, 1)
	signal.Notify(overtime, unix.SIGXCPU)
	go func() {
		<-overtime
		os.Exit(exitCPU)
	}()
	return filter()
}

// watchMemory ends the process when it comes to hold so many bytes more than now, until stopped.
func watchMemory(more uint64) (stop func()) {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	now := func() uint64 {
		metrics.Read(held)
		return held[0].Value.Uint64() - held[1].Value.Uint64()
	}
	limit := now() + more
	stopped := make(chan struct{})
	go func() {
		tick := time.NewTicker(4 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
				if now() > limit {
					os.Exit(exitMemory)
				}
			}
		}
	}()
	return func() { close(stopped) }
}

// dataNow is how much the limit on data counts already, in bytes: the runtime's own.
func dataNow() int64 {
	var pages [7]int64
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(raw), &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5], &pages[6]); err != nil {
		return 0
	}
	return min(pages[5]*int64(os.Getpagesize()), 512<<20)
}

// allowCPU gives the process so much more processor time, from now.
func allowCPU(l Limits) error {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return err
	}
	seconds := uint64(used.Utime.Sec+used.Stime.Sec) + uint64(l.CPU.Seconds()+1.5)
	return unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: unix.RLIM_INFINITY})
}

// allowed are the system calls that a Go program needs to compute, and to talk over pipes
// that are open already. All others fail with EPERM; none of these opens anything.
var allowed = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_FCNTL, unix.SYS_LSEEK,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETPID, unix.SYS_GETTID,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2,
	unix.SYS_GETRUSAGE, unix.SYS_PRLIMIT64, unix.SYS_GETRANDOM, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_MEMBARRIER,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

const (
	seccompSetModeFilter = 1
	seccompFilterTSync   = 1
	seccompReturnAllow   = 0x7fff0000
	seccompReturnErrno   = 0x00050000
	offsetNumber         = 0
	offsetArch           = 4
	offsetFirstArgument  = 16
	loadWord             = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpIfEqual          = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpIfSet            = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	returnConstant       = unix.BPF_RET | unix.BPF_K
	refused              = seccompReturnErrno | uint32(unix.EPERM)
	refusedAsNotThere    = seccompReturnErrno | uint32(unix.ENOSYS)
	cloneThread          = uint32(unix.CLONE_THREAD)
)

// filter installs the list for every thread of the process, for good.
func filter() error {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("no system call filter for %s", runtime.GOARCH)
	}
	program := compile(arch, uint32(os.Getpid()))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, seccompSetModeFilter, seccompFilterTSync, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// compile writes the filter. Threads may be made, processes not; signals may be sent to
// this process only.
func compile(arch, pid uint32) []unix.SockFilter {
	op := func(code int, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: uint16(code), K: k, Jt: yes, Jf: no}
	}
	program := []unix.SockFilter{
		op(loadWord, offsetArch, 0, 0),
		op(jumpIfEqual, arch, 1, 0),
		op(returnConstant, refused, 0, 0),
		op(loadWord, offsetNumber, 0, 0),
		op(jumpIfEqual, unix.SYS_CLONE3, 0, 1),
		op(returnConstant, refusedAsNotThere, 0, 0),
		op(jumpIfEqual, unix.SYS_CLONE, 0, 4),
		op(loadWord, offsetFirstArgument, 0, 0),
		op(jumpIfSet, cloneThread, 0, 1),
		op(returnConstant, seccompReturnAllow, 0, 0),
		op(returnConstant, refused, 0, 0),
		op(jumpIfEqual, unix.SYS_TGKILL, 0, 4),
		op(loadWord, offsetFirstArgument, 0, 0),
		op(jumpIfEqual, pid, 0, 1),
		op(returnConstant, seccompReturnAllow, 0, 0),
		op(returnConstant, refused, 0, 0),
	}
	for _, number := range allowed {
		program = append(program, op(jumpIfEqual, number, 0, 1), op(returnConstant, seccompReturnAllow, 0, 0))
	}
	return append(program, op(returnConstant, refused, 0, 0))
}
