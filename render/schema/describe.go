package schema

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"sync"

	"slipway.dev/slipway/api/v1alpha1"
)

// describe is what is said about a type, under the empty name, and about its fields.
func describe(t reflect.Type) map[string]string {
	if d, ok := reflect.Zero(t).Interface().(interface{ SwaggerDoc() map[string]string }); ok {
		return d.SwaggerDoc()
	}
	if t.PkgPath() == reflect.TypeFor[v1alpha1.Application]().PkgPath() {
		return own()[t.Name()]
	}
	return nil
}

// own are the comments on Slipway's own types, by type and field.
var own = sync.OnceValue(func() map[string]map[string]string {
	out := map[string]map[string]string{}
	files, err := v1alpha1.Source.ReadDir(".")
	if err != nil {
		return out
	}
	for _, f := range files {
		text, err := v1alpha1.Source.ReadFile(f.Name())
		if err != nil {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), text, parser.ParseComments)
		if err != nil {
			continue
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				for _, s := range g.Specs {
					collectComments(out, g, s.(*ast.TypeSpec))
				}
			}
		}
	}
	return out
})

func collectComments(out map[string]map[string]string, g *ast.GenDecl, s *ast.TypeSpec) {
	about := map[string]string{"": sentence(g.Doc)}
	out[s.Name.Name] = about
	fields, ok := s.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range fields.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
		if name, _, _ := strings.Cut(tag, ","); name != "" {
			about[name] = sentence(f.Doc)
		}
	}
}

// sentence is a comment in one line, without its markers for tools.
func sentence(c *ast.CommentGroup) string {
	text, _, _ := strings.Cut(c.Text(), "\n+")
	return strings.Join(strings.Fields(text), " ")
}
