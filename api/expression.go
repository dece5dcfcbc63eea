package api

import (
	"errors"
	"sync"

	"github.com/google/cel-go/cel"
)

// expressions is the environment of a health check's CEL expression: an object's fields.
var expressions = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("metadata", cel.DynType), cel.Variable("spec", cel.DynType),
		cel.Variable("status", cel.DynType), cel.Variable("data", cel.DynType),
	)
})

// maxExpression bounds an expression's text, in bytes.
const maxExpression = 4 << 10

// Expression compiles a CEL expression over an object's fields (metadata, spec, status,
// data) that says true or false.
func Expression(text string) (cel.Program, error) {
	if len(text) > maxExpression {
		return nil, errors.New("is longer than 4 KiB")
	}
	env, err := expressions()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if out := ast.OutputType(); out != cel.BoolType && out != cel.DynType {
		return nil, errors.New("its value is " + out.String())
	}
	return env.Program(ast, cel.CostLimit(1_000_000))
}

func checkExpression(text string) error {
	if text == "" {
		return nil
	}
	_, err := Expression(text)
	return err
}
