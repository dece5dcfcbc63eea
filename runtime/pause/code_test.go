package pause

import (
	"bytes"
	"debug/elf"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
	"golang.org/x/arch/x86/x86asm"
)

func TestTheBytesAreTheListing(t *testing.T) {
	t.Parallel()
	for _, i := range slices.Concat(amd64, gateAMD64) {
		inst, err := x86asm.Decode(i.code, 64)
		if err != nil {
			t.Fatalf("%x: %v", i.code, err)
		}
		if got := x86asm.IntelSyntax(inst, 0, nil); got != i.text || inst.Len != len(i.code) {
			t.Errorf("%x is %q, not %q", i.code, got, i.text)
		}
	}
	for _, i := range slices.Concat(arm64, gateARM64) {
		inst, err := arm64asm.Decode(i.code)
		if err != nil {
			t.Fatalf("%x: %v", i.code, err)
		}
		if got := arm64asm.GNUSyntax(inst); normal(got) != normal(i.text) {
			t.Errorf("%x is %q, not %q", i.code, got, i.text)
		}
	}
}

var number = regexp.MustCompile(`[-+]?(0x)?[0-9a-f]+$`)

// normal writes an instruction's last number in one way.
func normal(s string) string {
	s = strings.Replace(s, ".+0xf", ".-0xf", 1)
	return number.ReplaceAllStringFunc(s, func(n string) string {
		if u, err := strconv.ParseUint(strings.TrimLeft(n, "+-"), 0, 64); err == nil && u > math.MaxInt64 {
			return strconv.FormatInt(int64(u), 10)
		}
		if v, err := strconv.ParseInt(n, 0, 64); err == nil {
			return strconv.FormatInt(v, 10)
		}
		return n
	})
}

func TestBinaryIsAnExecutable(t *testing.T) {
	t.Parallel()
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		for _, make := range []func(string) ([]byte, error){Binary, Gate} {
			b, err := make(arch)
			if err != nil {
				t.Fatal(err)
			}
			executable(t, b, arch, machine)
		}
	}
	for _, make := range []func(string) ([]byte, error){Binary, Gate} {
		if _, err := make("mips"); err == nil {
			t.Error("there is no program for mips")
		}
	}
}

func executable(t *testing.T, b []byte, arch string, machine elf.Machine) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != machine || f.Type != elf.ET_EXEC {
		t.Errorf("%s: %v %v", arch, f.Machine, f.Type)
	}
	for _, p := range f.Progs {
		if p.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X {
			t.Errorf("%s: segment %v is writable and executable", arch, p.Type)
		}
	}
}
