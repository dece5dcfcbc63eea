// Package sandbox runs a function in child processes that can be killed.
//
// Evaluating Jsonnet can end a Go process in ways that recover cannot catch (40 KB of
// nested parentheses, a tail recursion) and can take gigabytes with a 62-byte program.
// So it is done in a child: the same binary, started with a hidden argument, confined
// before it reads its first byte. It may not open a file, a socket or a process (a
// seccomp filter that lets through little more than memory, futexes and the two pipes;
// without a network namespace's interfaces besides, if the parent is root), its memory
// and its processor time are bounded by the kernel, its wall-clock time and its output by
// the parent. What it needs from outside it asks of the parent over the pipe.
//
// Parent and child exchange frames: four bytes of length, big endian, a byte that says
// what it is, and a body that only the two functions understand.
//
//	parent → child   job     what to do
//	child  → parent  ask     what the child needs meanwhile, any number of times
//	parent → child   answer  one for each ask; or a refusal
//	child  → parent  part    of the result, any number; each has the limits for itself
//	child  → parent  done    the end of the result; or what failed
//
// A child that answered is used again; one that was killed is replaced.
package sandbox
