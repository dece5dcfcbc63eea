package jsonnet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-jsonnet"
)

// outcomes evaluates each program: to its value, or to the first line of its error.
func outcomes(code []string) []string {
	vm := jsonnet.MakeVM()
	for _, f := range quickNatives() {
		vm.NativeFunction(f)
	}
	out := make([]string, len(code))
	for i := range code {
		var err error
		if out[i], err = vm.EvaluateAnonymousSnippet("x", code[i]); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			out[i] = "error: " + first
		}
	}
	return out
}

func TestQuickFunctionsSayTheSame(t *testing.T) {
	values := []string{
		`1`, `-1`, `0`, `-0.0`, `0.5`, `-0.5`, `-1.5`, `1e15`, `1e16`, `9007199254740993`, `1e300`, `123456.789`, `true`, `null`, `'x'`, `'ä€𝄞'`, `''`,
		`[]`, `[1]`, `['a', 2]`, `[null, true]`, `[[1]]`, `[{a: 1}]`, `{}`, `{a: 1}`, `{a: 'x', b: 2}`, `{a: 1, c: error 'unused'}`, `{a:: 5}`,
		`function(x) x`, `[function(x) x]`, `error 'e'`, `[error 'e']`, `'\uFFFD'`, `std.char(65533)`, `[1, 2, 3]`, `{a: [1, {b: 'c'}]}`,
	}
	formats := []string{
		``, `plain`, `%%`, `100%`, `%s`, `%d`, `%i`, `%u`, `%5d`, `%05d`, `%-5d|`, `%+d`, `% d`, `%+05d`, `%-05d|`, `%#d`, `%5s`, `%-5s|`, `%05s`, `%x`, `%X`, `%o`,
		`%5.2f`, `%e`, `%g`, `%c`, `%.3s`, `%.3d`, `%*d`, `%s %s`, `a%sb%dc`, `%s%%`, `%5%`, `%(a)s`, `%(a)d`, `%(a)5d`, `%(a)s-%(b)s`, `%(a)s %s`, `%(a`, `%(a)%`, `%()s`,
		`%ls`, `%hd`, `%q`, `%`, `%5`, `%ä`, `ä%sö`, `\uFFFD%s`, `%10000s`, `%00d`, `%-+ 0#5d`, `%(missing)s`, `%s %s %s`,
	}
	var code []string
	for _, f := range formats {
		for _, v := range values {
			code = append(code, fmt.Sprintf(`'%s' %% %s`, f, v))
		}
	}
	for _, v := range values {
		code = append(code, fmt.Sprintf(`std.asciiUpper(%s)`, v), fmt.Sprintf(`std.asciiLower(%s)`, v), fmt.Sprintf(`std.format(%s, 1)`, v),
			fmt.Sprintf(`std.findSubstr(%s, 'abc')`, v), fmt.Sprintf(`std.findSubstr('x', %s)`, v))
	}
	code = append(code, `std.asciiUpper('azAZ09[`+"`"+`{ä')`, `std.asciiLower('azAZ09[@{Ä')`, `std.findSubstr('aa', 'aaaa')`, `std.findSubstr('', 'a')`,
		`std.findSubstr('ä', 'xäyä')`, `std.asciiUpper(std.char(55296))`, `std.codepoint('%s' % std.char(55296))`, `std.length(std)`,
		`std.objectFieldsAll(std)`, `std.format(str='%s', vals=[1])`, `std.format('%s')`, `std.type(std.format)`, `std.length(std.format)`)
	slow := outcomes(code)
	undo := replace(quick)
	fast := outcomes(code)
	undo()
	for i, c := range code {
		// An argument that has no value is an error; which one is told depends on who looks first.
		novalue := strings.Contains(c, "[function") || strings.Contains(c, "[error")
		if slow[i] != fast[i] && !(novalue && strings.HasPrefix(slow[i], "error: ") && strings.HasPrefix(fast[i], "error: ")) {
			t.Errorf("%s: got %q, the library says %q", c, fast[i], slow[i])
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{"%5d|%-3s", "%(a)s", "%+05i %% %u", "%.2f"} {
		f.Add(s, "x", 1.5, uint8(0))
		f.Add(s, "ä", -7.0, uint8(1))
		f.Add(s, "a", 1e17, uint8(2))
	}
	f.Fuzz(func(t *testing.T, form, s string, n float64, shape uint8) {
		if n != n || n > 1e308 || n < -1e308 {
			return
		}
		vm := jsonnet.MakeVM()
		for _, native := range quickNatives() {
			vm.NativeFunction(native)
		}
		vm.ExtVar("form", form)
		vm.ExtVar("s", s)
		vm.ExtCode("n", fmt.Sprintf("%.17g", n))
		vals := []string{"[std.extVar('s'), std.extVar('n')]", "std.extVar('n')", "{a: std.extVar('s'), b: std.extVar('n')}", "std.extVar('s')"}[shape%4]
		run := func() string {
			out, err := vm.EvaluateAnonymousSnippet("x", "std.format(std.extVar('form'), "+vals+")")
			if err != nil {
				out, _, _ = strings.Cut(err.Error(), "\n")
			}
			return out
		}
		slow := run()
		undo := replace(quick)
		defer undo()
		if fast := run(); fast != slow {
			t.Errorf("%q %% %s: got %q, the library says %q", form, vals, fast, slow)
		}
	})
}
