package api

import (
	templatev1 "github.com/openshift/api/template/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateTemplate(t *templatev1.Template) field.ErrorList {
	return validateTemplateAt(t, nil)
}

// validateTemplateAt checks what does not depend on the values of parameters. The
// objects are checked after processing: until then they may hold anything.
func validateTemplateAt(t *templatev1.Template, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, param := range t.Parameters {
		at := child(p, "parameters").Index(i)
		errs = append(errs, named(at.Child("name"), param.Name, isParameterName)...)
		if names.Has(param.Name) && param.Name != "" {
			errs = append(errs, field.Duplicate(at.Child("name"), param.Name))
		}
		names.Insert(param.Name)
		if param.Generate != "" && param.Generate != "expression" {
			errs = append(errs, field.NotSupported(at.Child("generate"), param.Generate, []string{"expression"}))
		}
	}
	for i, o := range t.Objects {
		if len(o.Raw) == 0 && o.Object == nil {
			errs = append(errs, field.Required(child(p, "objects").Index(i), ""))
		}
	}
	return append(errs, validateTemplateLabels(t.ObjectLabels, child(p, "labels"))...)
}

// validateTemplateLabels skips labels that a parameter is part of.
func validateTemplateLabels(labels map[string]string, p *field.Path) field.ErrorList {
	plain := map[string]string{}
	for k, v := range labels {
		if !hasParameter(k) && !hasParameter(v) {
			plain[k] = v
		}
	}
	return metav1validation.ValidateLabels(plain, p)
}

func validateTemplateInstance(i *templatev1.TemplateInstance) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateTemplateAt(&i.Spec.Template, p.Child("template"))
	if s := i.Spec.Secret; s != nil {
		errs = append(errs, named(p.Child("secret", "name"), s.Name, validation.IsDNS1123Subdomain)...)
	}
	return errs
}
