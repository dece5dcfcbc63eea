package health

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Checker decides health by an Application's expressions where it has some for a kind, and by
// the kind's rule otherwise.
type Checker struct {
	owner string
	byGVK map[schema.GroupVersionKind]expressions
}

// expressions are those of one kind. A nil one is not given.
type expressions struct {
	at                          string
	inProgress, failed, current cel.Program
}

// NewChecker compiles the expressions of an Application; owner, `namespace/name`, is named in
// errors. An error names the field.
func NewChecker(owner string, exprs []v1alpha1.HealthCheckExpr) (*Checker, error) {
	c := &Checker{owner: owner}
	for i, e := range exprs {
		gv, err := schema.ParseGroupVersion(e.APIVersion)
		at := fmt.Sprintf("spec.healthCheckExprs[%d]", i)
		if err != nil {
			return nil, fmt.Errorf("application %s: %s.apiVersion: %w", owner, at, err)
		}
		x := expressions{at: at}
		for _, p := range []struct {
			field, text string
			to          *cel.Program
		}{{"inProgress", e.InProgress, &x.inProgress}, {"failed", e.Failed, &x.failed}, {"current", e.Current, &x.current}} {
			if p.text == "" {
				continue
			}
			if *p.to, err = api.Expression(p.text); err != nil {
				return nil, fmt.Errorf("application %s: %s.%s: %w", owner, at, p.field, err)
			}
		}
		if c.byGVK == nil {
			c.byGVK = map[schema.GroupVersionKind]expressions{}
		}
		c.byGVK[gv.WithKind(e.Kind)] = x
	}
	return c, nil
}

// Immediate says that objects of a kind are Current as soon as they exist.
func (c *Checker) Immediate(gvk schema.GroupVersionKind) bool {
	_, asked := c.byGVK[gvk]
	return !asked && Immediate(gvk.GroupKind())
}

// Of is the health of an object; one that is nil does not exist. An expression that cannot
// be evaluated, for instance because the field it names is not there yet, leaves the object
// in progress and says so; one that costs too much makes its health unknown.
func (c *Checker) Of(o *unstructured.Unstructured) Health {
	if o == nil {
		return Health{InProgress, "does not exist"}
	}
	x, ok := c.byGVK[o.GroupVersionKind()]
	if !ok {
		return Of(o)
	}
	if o.GetDeletionTimestamp() != nil {
		return Health{Terminating, "is being deleted"}
	}
	return c.evaluate(x, o)
}

func (c *Checker) evaluate(x expressions, o *unstructured.Unstructured) Health {
	vars := map[string]any{}
	for _, name := range []string{"metadata", "spec", "status", "data"} {
		vars[name] = o.Object[name]
		if vars[name] == nil {
			vars[name] = map[string]any{}
		}
	}
	var trouble []string
	for _, p := range []struct {
		field   string
		program cel.Program
		state   State
	}{{"inProgress", x.inProgress, InProgress}, {"failed", x.failed, Failed}, {"current", x.current, Current}} {
		if p.program == nil {
			continue
		}
		value, _, err := p.program.Eval(vars)
		if err != nil {
			what := fmt.Sprintf("application %s: %s.%s: %v", c.owner, x.at, p.field, err)
			if !strings.Contains(err.Error(), "no such key") {
				return Health{Unknown, what}
			}
			trouble = append(trouble, what)
			continue
		}
		holds, isBool := value.Value().(bool)
		if !isBool {
			return Health{Unknown, fmt.Sprintf("application %s: %s.%s: its value is %v, not true or false", c.owner, x.at, p.field, value.Type())}
		}
		if holds {
			return Health{p.state, x.at + "." + p.field + " holds"}
		}
	}
	if len(trouble) > 0 {
		return Health{InProgress, strings.Join(trouble, "; ")}
	}
	return Health{InProgress, x.at + ".current does not hold yet"}
}
