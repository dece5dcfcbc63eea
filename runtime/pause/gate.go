package pause

import "fmt"

// The gate, per architecture: what a container in a sandbox from the pool begins with. Docker
// gives a container the host name of the sandbox that it joins, and a sandbox that was made before its pod
// has another; so the process waits until its host name was set from outside, and then becomes what it
// is to be. It is called as
//
//	gate FIFO PATH… "" ARGUMENT…
//
// where each PATH is a place at which the program may be, and the arguments are its own, its name
// first:
//
//	find:   skip to the arguments, after the empty word
//	        fd = open(FIFO, O_WRONLY|O_CLOEXEC), which waits until somebody reads
//	        if that fails: goto exit
//	        why = ENOENT
//	try:    execve(the next PATH, arguments, environment): who reads sees the FIFO's end
//	        if it failed by another error than ENOENT: why = that
//	        if there is another PATH: goto try
//	        write(fd, why, 1)
//	exit:   exit(127)
//
// amd64 keeps the next PATH in rbx, the arguments in r13, the environment in r12, the FIFO in r14 and
// why in r15.
var gateAMD64 = []instruction{
	{[]byte{0x48, 0x8b, 0x04, 0x24}, "mov rax, qword ptr [rsp]"},
	{[]byte{0x4c, 0x8d, 0x64, 0xc4, 0x10}, "lea r12, ptr [rsp+rax*8+0x10]"},
	{[]byte{0x48, 0x8d, 0x5c, 0x24, 0x18}, "lea rbx, ptr [rsp+0x18]"},
	{[]byte{0x49, 0x89, 0xdd}, "mov r13, rbx"},
	{[]byte{0x49, 0x8b, 0x45, 0x00}, "mov rax, qword ptr [r13]"}, // find
	{[]byte{0x49, 0x83, 0xc5, 0x08}, "add r13, 0x8"},
	{[]byte{0x80, 0x38, 0x00}, "cmp byte ptr [rax], 0x0"},
	{[]byte{0x75, 0xf3}, "jnz .-0xd"}, // find
	{[]byte{0xb8, 2, 0, 0, 0}, "mov eax, 0x2"},
	{[]byte{0x48, 0x8b, 0x7c, 0x24, 0x10}, "mov rdi, qword ptr [rsp+0x10]"},
	{[]byte{0xbe, 0x01, 0x00, 0x08, 0x00}, "mov esi, 0x80001"},
	{[]byte{0x0f, 0x05}, "syscall"}, // open
	{[]byte{0x41, 0x89, 0xc6}, "mov r14d, eax"},
	{[]byte{0x85, 0xc0}, "test eax, eax"},
	{[]byte{0x78, 0x3d}, "js .+0x3d"}, // exit
	{[]byte{0x6a, 0x02}, "push 0x2"},  // ENOENT
	{[]byte{0x41, 0x5f}, "pop r15"},
	{[]byte{0x48, 0x8b, 0x3b}, "mov rdi, qword ptr [rbx]"}, // try
	{[]byte{0x4c, 0x89, 0xee}, "mov rsi, r13"},
	{[]byte{0x4c, 0x89, 0xe2}, "mov rdx, r12"},
	{[]byte{0xb8, 59, 0, 0, 0}, "mov eax, 0x3b"},
	{[]byte{0x0f, 0x05}, "syscall"}, // execve
	{[]byte{0xf7, 0xd8}, "neg eax"},
	{[]byte{0x83, 0xf8, 0x02}, "cmp eax, 0x2"},
	{[]byte{0x44, 0x0f, 0x45, 0xf8}, "cmovnz r15d, eax"},
	{[]byte{0x48, 0x83, 0xc3, 0x08}, "add rbx, 0x8"},
	{[]byte{0x48, 0x8b, 0x03}, "mov rax, qword ptr [rbx]"},
	{[]byte{0x80, 0x38, 0x00}, "cmp byte ptr [rax], 0x0"},
	{[]byte{0x75, 0xdb}, "jnz .-0x25"}, // try
	{[]byte{0x41, 0x57}, "push r15"},
	{[]byte{0xb8, 1, 0, 0, 0}, "mov eax, 0x1"},
	{[]byte{0x44, 0x89, 0xf7}, "mov edi, r14d"},
	{[]byte{0x48, 0x89, 0xe6}, "mov rsi, rsp"},
	{[]byte{0xba, 1, 0, 0, 0}, "mov edx, 0x1"},
	{[]byte{0x0f, 0x05}, "syscall"},              // write
	{[]byte{0xb8, 60, 0, 0, 0}, "mov eax, 0x3c"}, // exit
	{[]byte{0xbf, 127, 0, 0, 0}, "mov edi, 0x7f"},
	{[]byte{0x0f, 0x05}, "syscall"},
}

// arm64 keeps the next PATH in x20, the arguments in x22, the environment in x21, the FIFO in x23 and
// why in x24.
var gateARM64 = []instruction{
	{word(0xF94003E9), "ldr x9, [sp]"},
	{word(0x910063F4), "add x20, sp, #0x18"},
	{word(0x910043F5), "add x21, sp, #0x10"},
	{word(0x8B090EB5), "add x21, x21, x9, lsl #3"},
	{word(0xAA1403F6), "mov x22, x20"},
	{word(0xF84086C9), "ldr x9, [x22],#8"}, // find
	{word(0x39400129), "ldrb w9, [x9]"},
	{word(0x35FFFFC9), "cbnz w9, .-0x8"},
	{word(0x92800C60), "mov x0, #-100"}, // AT_FDCWD
	{word(0xF9400BE1), "ldr x1, [sp,#16]"},
	{word(0xD2800022), "mov x2, #1"},
	{word(0xF2A00102), "movk x2, #0x8, lsl #16"},
	{word(0xD2800003), "mov x3, #0"},
	{word(0xD2800708), "mov x8, #56"},
	{word(0xD4000001), "svc #0"}, // openat
	{word(0xAA0003F7), "mov x23, x0"},
	{word(0xB7F80260), "tbnz x0, #63, .+0x4c"}, // exit
	{word(0xD2800058), "mov x24, #2"},          // ENOENT
	{word(0xF9400280), "ldr x0, [x20]"},        // try
	{word(0xAA1603E1), "mov x1, x22"},
	{word(0xAA1503E2), "mov x2, x21"},
	{word(0xD2801BA8), "mov x8, #221"},
	{word(0xD4000001), "svc #0"}, // execve
	{word(0xCB0003E9), "neg x9, x0"},
	{word(0xF100093F), "cmp x9, #2"},
	{word(0x9A890318), "csel x24, x24, x9, eq"},
	{word(0xF8408E89), "ldr x9, [x20,#8]!"},
	{word(0x39400129), "ldrb w9, [x9]"},
	{word(0x35FFFEC9), "cbnz w9, .-0x28"}, // try
	{word(0xF81F0FF8), "str x24, [sp,#-16]!"},
	{word(0xAA1703E0), "mov x0, x23"},
	{word(0x910003E1), "mov x1, sp"},
	{word(0xD2800022), "mov x2, #1"},
	{word(0xD2800808), "mov x8, #64"},
	{word(0xD4000001), "svc #0"},       // write
	{word(0xD2800FE0), "mov x0, #127"}, // exit
	{word(0xD2800BA8), "mov x8, #93"},
	{word(0xD4000001), "svc #0"},
}

// Gate is the gate's program for a GOARCH; see [Binary].
func Gate(arch string) ([]byte, error) {
	switch arch {
	case "amd64":
		return program(62, gateAMD64), nil // EM_X86_64
	case "arm64":
		return program(183, gateARM64), nil // EM_AARCH64
	}
	return nil, fmt.Errorf("no gate program for architecture %s", arch)
}
