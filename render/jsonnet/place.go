package jsonnet

import (
	"fmt"

	"github.com/google/go-jsonnet/ast"
)

// view is what can be seen, without evaluating, of where a value is written: a node of the
// evaluated file and the names around it.
type view struct {
	node  ast.Node
	scope *scope
	// line of the field or element; 0: that of the node.
	line int
}

// scope holds the nodes that names stand for.
type scope struct {
	binds  ast.LocalBinds
	around *scope
}

// The bounds of looking.
const (
	maxHops   = 100
	maxFields = 100_000
)

// plain goes through locals, names, parentheses and a top-level function to what a value is.
func (v view) plain() view {
	for range maxHops {
		switch n := v.node.(type) {
		case *ast.Parens:
			v.node = n.Inner
		case *ast.Local:
			v.node, v.scope = n.Body, &scope{n.Binds, v.scope}
		case *ast.Function:
			v.node = n.Body
		case *ast.Var:
			next, ok := v.scope.find(n.Id)
			if !ok {
				return v
			}
			v.node, v.scope = next.node, next.scope
		default:
			return v
		}
	}
	return view{}
}

func (s *scope) find(name ast.Identifier) (view, bool) {
	for ; s != nil; s = s.around {
		for _, b := range s.binds {
			if b.Variable == name && b.Fun == nil {
				return view{node: b.Body, scope: s}, b.Body != nil
			}
		}
	}
	return view{}, false
}

// at is the line of the value; 0: not known.
func (v view) at() int {
	if v.line > 0 {
		return v.line
	}
	for range maxHops {
		switch n := v.node.(type) {
		case nil:
			return 0
		case *ast.Local:
			v.node = n.Body
		case *ast.Parens:
			v.node = n.Inner
		default:
			return n.Loc().Begin.Line
		}
	}
	return 0
}

// field is where an object's field is written.
func (v view) field(key string) view {
	v = v.plain()
	switch n := v.node.(type) {
	case *ast.DesugaredObject:
		for _, f := range n.Fields {
			if name, ok := f.Name.(*ast.LiteralString); ok && name.Value == key {
				return view{f.Body, &scope{n.Locals, v.scope}, f.LocRange.Begin.Line}
			}
		}
	case *ast.Binary:
		if n.Op == ast.BopPlus {
			if right := (view{node: n.Right, scope: v.scope}).field(key); right.node != nil {
				return right
			}
			return view{node: n.Left, scope: v.scope}.field(key)
		}
	}
	return view{}
}

// element is where an array's element is written.
func (v view) element(i int) view {
	v = v.plain()
	switch n := v.node.(type) {
	case *ast.Array:
		if i < len(n.Elements) {
			return view{node: n.Elements[i].Expr, scope: v.scope}
		}
	case *ast.Binary:
		left, ok := view{node: n.Left, scope: v.scope}.plain().node.(*ast.Array)
		if n.Op == ast.BopPlus && ok && i < len(left.Elements) {
			return view{node: n.Left, scope: v.scope}.element(i)
		}
		if n.Op == ast.BopPlus && ok {
			return view{node: n.Right, scope: v.scope}.element(i - len(left.Elements))
		}
	}
	return view{}
}

// fields notes the line of each field below a value that is written down as it is: of what
// a function returns nothing is known.
func (v view) fields(path string, depth int, lines map[string]int, budget *int) {
	v = v.plain()
	note := func(at string, child view) {
		if *budget--; *budget < 0 || depth > maxHops {
			return
		}
		if line := child.at(); line > 0 {
			lines[at] = line
		}
		child.fields(at, depth+1, lines, budget)
	}
	switch n := v.node.(type) {
	case *ast.DesugaredObject:
		for _, f := range n.Fields {
			name, ok := f.Name.(*ast.LiteralString)
			if !ok || f.Hide == ast.ObjectFieldHidden {
				continue
			}
			at := name.Value
			if path != "" {
				at = path + "." + at
			}
			note(at, view{f.Body, &scope{n.Locals, v.scope}, f.LocRange.Begin.Line})
		}
	case *ast.Array:
		for i, e := range n.Elements {
			note(fmt.Sprintf("%s[%d]", path, i), view{node: e.Expr, scope: v.scope})
		}
	case *ast.Binary:
		if n.Op == ast.BopPlus && depth <= maxHops {
			view{node: n.Left, scope: v.scope}.fields(path, depth+1, lines, budget)
			view{node: n.Right, scope: v.scope}.fields(path, depth+1, lines, budget)
		}
	}
}
