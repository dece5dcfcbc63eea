package jsonnet

import (
	"slices"
	"strings"
	"sync"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"
	"github.com/google/go-jsonnet/astgen"
)

// Some functions of the standard library are written in Jsonnet and take some hundred
// times as long as they need: `'%d' % 1` a quarter of a millisecond. Here they get a way
// past that for plain arguments, in Go. What the way past does not know, every mistake
// included, is left to the library's own function, so that the outcome is always the same.

// quick are those functions: in Jsonnet, what calls the Go function, which answers null
// where it does not know. slow is the library's own.
var quick = map[string]string{
	"format": `function(str, vals)
		local known(v) = if v == null then slow(str, vals) else v;
		if !std.isString(str) || std.isFunction(vals) then slow(str, vals)
		else if !std.isObject(vals) then known(std.native('std.format')(str, vals))
		else
			local keys = std.native('std.formatKeys')(str);
			if keys == null || [k for k in keys if !std.objectHasAll(vals, k)] != [] then slow(str, vals)
			else known(std.native('std.format')(str, { [k]: vals[k] for k in keys }))`,
	"asciiUpper": `function(str)
		local v = if std.isString(str) then std.native('std.asciiUpper')(str);
		if v == null then slow(str) else v`,
	"asciiLower": `function(str)
		local v = if std.isString(str) then std.native('std.asciiLower')(str);
		if v == null then slow(str) else v`,
	"findSubstr": `function(pat, str)
		local v = if std.isString(pat) && std.isString(str) then std.native('std.findSubstr')(pat, str);
		if v == null then slow(pat, str) else v`,
}

// quicken puts the functions into the standard library of this process.
var quicken = sync.OnceFunc(func() { replace(quick) })

// replace puts functions around the library's own, and returns how to take them away.
func replace(quick map[string]string) (undo func()) {
	var undos []func()
	for i := range astgen.StdAst.Fields {
		f := &astgen.StdAst.Fields[i]
		name, ok := f.Name.(*ast.LiteralString)
		if !ok || quick[name.Value] == "" {
			continue
		}
		own, ok := f.Body.(*ast.Function)
		if !ok {
			continue
		}
		node, err := jsonnet.SnippetToAST("<std>", "local slow = null; "+quick[name.Value])
		if err != nil {
			panic("the standard library's " + name.Value + ": " + err.Error())
		}
		local := node.(*ast.Local)
		local.Binds[0].Body = own
		free := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(local.FreeVariables()), own.FreeVariables()...))))
		local.SetFreeVariables(free)
		f.Body = local
		undos = append(undos, func() { f.Body = own })
	}
	return func() {
		for _, undo := range undos {
			undo()
		}
	}
}

// quickNatives are what the quick functions call.
func quickNatives() []*jsonnet.NativeFunction {
	text := func(name string, f func(a ...string) any, params ...ast.Identifier) *jsonnet.NativeFunction {
		return &jsonnet.NativeFunction{Name: name, Params: params, Func: func(raw []any) (any, error) {
			args := make([]string, len(raw))
			for i := range raw {
				s, ok := raw[i].(string)
				if !ok || strange(s) {
					return nil, nil
				}
				args[i] = s
			}
			return f(args...), nil
		}}
	}
	return []*jsonnet.NativeFunction{
		text("std.asciiUpper", func(a ...string) any { return mapASCII(a[0], 'a', 'z', 'A') }, "str"),
		text("std.asciiLower", func(a ...string) any { return mapASCII(a[0], 'A', 'Z', 'a') }, "str"),
		text("std.findSubstr", func(a ...string) any { return findSubstr(a[0], a[1]) }, "pat", "str"),
		text("std.formatKeys", func(a ...string) any { return formatKeys(a[0]) }, "str"),
		{Name: "std.format", Params: ast.Identifiers{"str", "vals"}, Func: func(a []any) (any, error) {
			s, ok := a[0].(string)
			if !ok {
				return nil, nil
			}
			return format(s, a[1]), nil
		}},
	}
}

// strange strings may hold what Jsonnet's strings can and Go's cannot.
func strange(s string) bool { return strings.ContainsRune(s, '\uFFFD') }

func mapASCII(s string, from, to, onto rune) string {
	return strings.Map(func(r rune) rune {
		if r >= from && r <= to {
			return r - from + onto
		}
		return r
	}, s)
}

// findSubstr lists where pat begins in s, counted in code points; overlaps count.
func findSubstr(pat, s string) any {
	out := []any{}
	if pat == "" {
		return out
	}
	at := 0
	for i := range s {
		if strings.HasPrefix(s[i:], pat) {
			out = append(out, float64(at))
		}
		at++
	}
	return out
}
