package api

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a resolver reads of its configuration, by Kubernetes' limits.
const (
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048 // of all of them, with blanks between
)

func validateDNSConfig(c *corev1.PodDNSConfig, p *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	if n := len(c.Nameservers); n > maxNameservers {
		errs = append(errs, field.Invalid(p.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %d nameservers", maxNameservers)))
	}
	for i, s := range c.Nameservers {
		errs = append(errs, validation.IsValidIP(p.Child("nameservers").Index(i), s)...)
	}
	if len(c.Searches) > maxSearches {
		errs = append(errs, field.Invalid(p.Child("searches"), len(c.Searches), fmt.Sprintf("must not have more than %d search paths", maxSearches)))
	}
	if n := len(strings.Join(c.Searches, " ")); n > maxSearchLength {
		errs = append(errs, field.Invalid(p.Child("searches"), n, fmt.Sprintf("must not have more than %d characters (including spaces) in the search list", maxSearchLength)))
	}
	for i, s := range c.Searches {
		if s != "." {
			errs = append(errs, invalid(p.Child("searches").Index(i), s, validation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(s, ".")))...)
		}
	}
	for i, o := range c.Options {
		at := p.Child("options").Index(i)
		switch {
		case o.Name == "":
			errs = append(errs, field.Required(at, "must not be empty"))
		case strings.ContainsAny(o.Name, " \t\r\n:"):
			errs = append(errs, field.Invalid(at.Child("name"), o.Name, "must be one word"))
		case o.Value != nil && strings.ContainsAny(*o.Value, " \t\r\n"):
			errs = append(errs, field.Invalid(at.Child("value"), *o.Value, "must be one word"))
		}
	}
	return errs
}
