package pause

import (
	"encoding/binary"
	"fmt"
)

// The program, per architecture. It blocks every signal, so that none is lost between
// two calls and none ends it, and then takes them one by one:
//
//	        push  the set of all signals
//	        rt_sigprocmask(SIG_SETMASK, set, NULL, 8)
//	wait:   signal = rt_sigtimedwait(set, NULL, NULL, 8)
//	        if signal is SIGTERM (15) or SIGINT (2): goto exit
//	        if signal is not SIGCHLD (17): goto wait
//	reap:   if wait4(-1, NULL, WNOHANG, NULL) > 0: goto reap
//	        goto wait
//	exit:   exit(0)
//
// A line of a listing is an instruction's bytes and the instruction; the test
// disassembles the bytes and compares.
type instruction struct {
	code []byte
	text string
}

// amd64 passes arguments in rdi, rsi, rdx, r10 and the call's number in rax.
var amd64 = []instruction{
	{[]byte{0x6a, 0xff}, "push 0xffffffff"},
	{[]byte{0xb8, 14, 0, 0, 0}, "mov eax, 0xe"}, // rt_sigprocmask
	{[]byte{0xbf, 2, 0, 0, 0}, "mov edi, 0x2"},  // SIG_SETMASK
	{[]byte{0x48, 0x89, 0xe6}, "mov rsi, rsp"},
	{[]byte{0x31, 0xd2}, "xor edx, edx"},
	{[]byte{0x41, 0xba, 8, 0, 0, 0}, "mov r10d, 0x8"},
	{[]byte{0x0f, 0x05}, "syscall"},
	{[]byte{0xb8, 128, 0, 0, 0}, "mov eax, 0x80"}, // wait: rt_sigtimedwait
	{[]byte{0x48, 0x89, 0xe7}, "mov rdi, rsp"},
	{[]byte{0x31, 0xf6}, "xor esi, esi"},
	{[]byte{0x31, 0xd2}, "xor edx, edx"},
	{[]byte{0x41, 0xba, 8, 0, 0, 0}, "mov r10d, 0x8"},
	{[]byte{0x0f, 0x05}, "syscall"},
	{[]byte{0x83, 0xf8, 15}, "cmp eax, 0xf"},
	{[]byte{0x74, 0x25}, "jz .+0x25"}, // exit
	{[]byte{0x83, 0xf8, 2}, "cmp eax, 0x2"},
	{[]byte{0x74, 0x20}, "jz .+0x20"}, // exit
	{[]byte{0x83, 0xf8, 17}, "cmp eax, 0x11"},
	{[]byte{0x75, 0xdd}, "jnz .-0x23"},           // wait
	{[]byte{0xb8, 61, 0, 0, 0}, "mov eax, 0x3d"}, // reap: wait4
	{[]byte{0x48, 0x83, 0xcf, 0xff}, "or rdi, -0x1"},
	{[]byte{0x31, 0xf6}, "xor esi, esi"},
	{[]byte{0xba, 1, 0, 0, 0}, "mov edx, 0x1"}, // WNOHANG
	{[]byte{0x45, 0x31, 0xd2}, "xor r10d, r10d"},
	{[]byte{0x0f, 0x05}, "syscall"},
	{[]byte{0x85, 0xc0}, "test eax, eax"},
	{[]byte{0x7f, 0xe7}, "jnle .-0x19"},          // reap
	{[]byte{0xeb, 0xc2}, "jmp .-0x3e"},           // wait
	{[]byte{0xb8, 60, 0, 0, 0}, "mov eax, 0x3c"}, // exit
	{[]byte{0x31, 0xff}, "xor edi, edi"},
	{[]byte{0x0f, 0x05}, "syscall"},
}

// arm64 passes arguments in x0 to x3 and the call's number in x8.
var arm64 = []instruction{
	{word(0x92800009), "mov x9, #-1"},
	{word(0xF81F0FE9), "str x9, [sp,#-16]!"},
	{word(0xD2800040), "mov x0, #2"}, // SIG_SETMASK
	{word(0x910003E1), "mov x1, sp"},
	{word(0xD2800002), "mov x2, #0"},
	{word(0xD2800103), "mov x3, #8"},
	{word(0xD28010E8), "mov x8, #135"}, // rt_sigprocmask
	{word(0xD4000001), "svc #0"},
	{word(0x910003E0), "mov x0, sp"}, // wait:
	{word(0xD2800001), "mov x1, #0"},
	{word(0xD2800002), "mov x2, #0"},
	{word(0xD2800103), "mov x3, #8"},
	{word(0xD2801128), "mov x8, #137"}, // rt_sigtimedwait
	{word(0xD4000001), "svc #0"},
	{word(0x71003C1F), "cmp w0, #15"},
	{word(0x540001C0), "b.eq .+0x38"}, // exit
	{word(0x7100081F), "cmp w0, #2"},
	{word(0x54000180), "b.eq .+0x30"}, // exit
	{word(0x7100441F), "cmp w0, #17"},
	{word(0x54FFFEA1), "b.ne .-0x2c"}, // wait
	{word(0x92800000), "mov x0, #-1"}, // reap:
	{word(0xD2800001), "mov x1, #0"},
	{word(0xD2800022), "mov x2, #1"}, // WNOHANG
	{word(0xD2800003), "mov x3, #0"},
	{word(0xD2802088), "mov x8, #260"}, // wait4
	{word(0xD4000001), "svc #0"},
	{word(0x7100001F), "cmp w0, #0"},
	{word(0x54FFFF2C), "b.gt .-0x1c"},
	{word(0x17FFFFEC), "b .-0x50"},
	{word(0xD2800000), "mov x0, #0"},  // exit:
	{word(0xD2800BA8), "mov x8, #93"}, // exit
	{word(0xD4000001), "svc #0"},
}

func word(w uint32) []byte { return binary.LittleEndian.AppendUint32(nil, w) }

// Binary is the program for a GOARCH: a static ELF executable of one segment, which
// is not writable, and with a stack that is not executable.
func Binary(arch string) ([]byte, error) {
	switch arch {
	case "amd64":
		return program(62, amd64), nil // EM_X86_64
	case "arm64":
		return program(183, arm64), nil // EM_AARCH64
	}
	return nil, fmt.Errorf("no pause program for architecture %s", arch)
}

func program(machine uint16, listing []instruction) []byte {
	var code []byte
	for _, i := range listing {
		code = append(code, i.code...)
	}
	return link(machine, code)
}

// link puts an ELF header and two program headers before code (elf(5)).
func link(machine uint16, code []byte) []byte {
	const base, headers = 0x400000, 64 + 2*56
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0} // 64 bit, little endian
	b = le.AppendUint16(b, 2)                                            // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+headers) // entry
	b = le.AppendUint64(b, 64)           // program headers
	b = le.AppendUint64(b, 0)            // no sections
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 2, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	size := uint64(headers + len(code))
	b = segment(b, 1, 5, base, size, 0x10000) // PT_LOAD, readable and executable
	b = segment(b, 0x6474e551, 6, 0, 0, 16)   // PT_GNU_STACK, readable and writable
	return append(b, code...)
}

func segment(b []byte, kind, flags uint32, address, size, align uint64) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, kind)
	b = le.AppendUint32(b, flags)
	for _, v := range []uint64{0, address, address, size, size, align} {
		b = le.AppendUint64(b, v)
	}
	return b
}
