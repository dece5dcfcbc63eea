package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/constraints"
)

// The rules.
const (
	// RuleRender are mistakes: what the renderer refuses.
	RuleRender     = "render"
	RuleImage      = "image"
	RuleLimits     = "limits"
	RuleDeprecated = "deprecated"
	RuleReference  = "reference"
	RulePlain      = "plain-secret"
	RuleHost       = "host-access"
)

// Rules are all rules that find something unwise, and what it is.
func Rules() map[string]string {
	return map[string]string{
		RuleImage:      "a container's image has no digest, and its tag is latest or none",
		RuleLimits:     "a container has no memory limit, and its project no LimitRange",
		RuleDeprecated: "a field or an API version is out of date, or belongs to the server",
		RuleReference:  "an object refers to one that the repository does not declare",
		RulePlain:      "a Secret's values stand in the repository in plain text",
		RuleHost:       "a pod asks for more of its host than the repository lets its service account have",
	}
}

// IgnoreAnnotation names rules that do not hold for an object, with commas between.
const IgnoreAnnotation = "slipway.dev/lint-ignore"

// The severities.
const (
	Error   = "error"
	Warning = "warning"
)

// Finding is something wrong or unwise, and where.
type Finding struct {
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	api.Problem
}

// String reads `file:line: warning: object: field: message [rule] (via)`.
func (f Finding) String() string {
	p := f.Problem
	p.Message += " [" + f.Rule + "]"
	place := api.Problem{File: p.File, Line: p.Line}
	head := strings.TrimSuffix(api.ProblemString(place), " ")
	p.File, p.Line = "", 0
	if head == "" {
		return f.Severity + ": " + api.ProblemString(p)
	}
	return head + " " + f.Severity + ": " + api.ProblemString(p)
}

// Problems are mistakes as findings.
func Problems(problems api.Problems) []Finding {
	var out []Finding
	for _, p := range problems {
		out = append(out, Finding{Error, RuleRender, p})
	}
	return out
}

// Objects looks at rendered objects. References are looked at only if whole: the objects
// are then all that a repository declares.
func Objects(objects []api.DesiredObject, whole bool) []Finding {
	l := &linter{index: newIndex(objects)}
	for _, o := range objects {
		l.policy.Add(o.Unstructured)
	}
	for _, o := range objects {
		l.object = o
		l.pods()
		l.outOfDate()
		if whole {
			l.references()
			l.hostAccess()
		}
	}
	return l.findings
}

// Sort puts findings in the order of their places, and drops those that are there twice.
func Sort(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Object, b.Object), strings.Compare(a.Field, b.Field), strings.Compare(a.Rule, b.Rule))
	})
	return slices.Compact(findings)
}

type linter struct {
	index    index
	policy   constraints.Policy
	object   api.DesiredObject
	findings []Finding
}

// warn notes a finding about the object, unless the object says that the rule does not hold.
func (l *linter) warn(rule, field, format string, args ...any) {
	o := l.object
	for ignored := range strings.SplitSeq(o.GetAnnotations()[IgnoreAnnotation], ",") {
		if strings.TrimSpace(ignored) == rule {
			return
		}
	}
	l.findings = append(l.findings, Finding{Warning, rule, api.Problem{
		File: o.Origin.File, Line: o.Origin.LineOf(field), Object: api.ObjectName(o.Unstructured), Field: field, Via: o.Origin.Via,
		Message: fmt.Sprintf(format, args...),
	}})
}

// index finds objects by kind, project and name.
type index map[[3]string]api.DesiredObject

func newIndex(objects []api.DesiredObject) index {
	x := index{}
	for _, o := range objects {
		x[[3]string{o.GetKind(), o.GetNamespace(), o.GetName()}] = o
	}
	return x
}

func (x index) has(kind, project, name string) bool {
	_, ok := x[[3]string{kind, project, name}]
	return ok
}

// names of a kind's objects in a project.
func (x index) names(kind, project string) []string {
	var out []string
	for k := range x {
		if k[0] == kind && k[1] == project {
			out = append(out, k[2])
		}
	}
	slices.Sort(out)
	return out
}

// closest is the end of a message about a name that is not there: what may have been meant.
func (x index) closest(kind, project, name string) string {
	if best := api.Closest(name, x.names(kind, project)); best != "" {
		return ": did you mean " + best + "?"
	}
	return ""
}
