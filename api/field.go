package api

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The checks of single fields that several kinds share.

func setDefault[T comparable](at *T, v T) {
	var zero T
	if *at == zero {
		*at = v
	}
}

func setPointer[T any](at **T, v T) {
	if *at == nil {
		*at = &v
	}
}

func invalid(p *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range messages {
		errs = append(errs, field.Invalid(p, value, m))
	}
	return errs
}

// named checks a required reference by name, or any other required text, with f.
func named(p *field.Path, value string, f func(string) []string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return invalid(p, value, f(value))
}

func oneOf[T ~string](p *field.Path, value T, allowed ...T) field.ErrorList {
	switch {
	case slices.Contains(allowed, value):
		return nil
	case value == "":
		return field.ErrorList{field.Required(p, "one of "+joined(allowed))}
	}
	return field.ErrorList{field.NotSupported(p, value, allowed)}
}

func joined[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}

func nonNegative[T cmp.Ordered](p *field.Path, value T) field.ErrorList {
	var zero T
	return atLeast(p, value, zero, "must be greater than or equal to 0")
}

func positive[T cmp.Ordered](p *field.Path, value T) field.ErrorList {
	var zero T
	if value > zero {
		return nil
	}
	return field.ErrorList{field.Invalid(p, value, "must be greater than 0")}
}

func atLeast[T cmp.Ordered](p *field.Path, value, least T, message string) field.ErrorList {
	if value >= least {
		return nil
	}
	return field.ErrorList{field.Invalid(p, value, message)}
}

func positiveDuration(p *field.Path, d *metav1.Duration) field.ErrorList {
	if d == nil || d.Duration > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(p, d.Duration.String(), "must be greater than 0")}
}

// inTree checks a path that stays inside of a tree: relative, without `..`, without
// control characters. An empty one is the tree's root.
func inTree(p *field.Path, value string) field.ErrorList {
	switch {
	case value == "":
		return nil
	case path.IsAbs(value):
		return field.ErrorList{field.Invalid(p, value, "must be a relative path")}
	case slices.Contains(strings.Split(value, "/"), ".."):
		return field.ErrorList{field.Invalid(p, value, "must not contain '..'")}
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(value, `\`):
		return field.ErrorList{field.Invalid(p, value, "must not contain control characters or backslashes")}
	}
	return nil
}

// port checks a port number, or the name of a container's port.
func port(p *field.Path, v intstr.IntOrString) field.ErrorList {
	if v.Type == intstr.Int {
		return invalid(p, v.IntVal, validation.IsValidPortNum(int(v.IntVal)))
	}
	return named(p, v.StrVal, validation.IsValidPortName)
}

// nameIsPathSegment is the rule for names such as system:image-puller or sha256:….
func nameIsPathSegment(name string, _ bool) []string {
	if name == "." || name == ".." || strings.ContainsAny(name, "/%") {
		return []string{"may not be '.', '..' or contain '/' or '%'"}
	}
	if len(name) > validation.DNS1123SubdomainMaxLength {
		return []string{validation.MaxLenError(validation.DNS1123SubdomainMaxLength)}
	}
	return nil
}

var parameterName = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)

func isParameterName(name string) []string {
	if parameterName.MatchString(name) {
		return nil
	}
	return []string{"must consist of letters, digits and underscores"}
}

var parameterUse = regexp.MustCompile(`\$\{\{?[a-zA-Z0-9_]+\}`)

// hasParameter says whether a text of a template depends on a parameter's value.
func hasParameter(s string) bool { return parameterUse.MatchString(s) }

// child is p's child, or a root where p is nil.
func child(p *field.Path, name string) *field.Path {
	if p == nil {
		return field.NewPath(name)
	}
	return p.Child(name)
}

func validateAnnotations(a map[string]string, p *field.Path) field.ErrorList {
	return apivalidation.ValidateAnnotations(a, p)
}
