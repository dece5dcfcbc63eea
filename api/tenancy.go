package api

import (
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

// SystemProject holds Slipway's own objects: the repositories and Applications that
// the platform's administrators declare. Every other project is a tenant.
const SystemProject = "slipway"

// validateTenancy keeps a project's objects from writing into another project. It
// looks only at where an object is, so that no way of getting there goes round it.
func validateTenancy(obj runtime.Object) field.ErrorList {
	p := field.NewPath("spec")
	switch o := obj.(type) {
	case *v1alpha1.Application:
		return applicationTenancy(o, p)
	case *v1alpha1.GitRepository:
		return repositoryTenancy(o, p)
	case *v1alpha1.Promotion:
		return promotionTenancy(o, p)
	case *buildv1.BuildConfig:
		return ownOutput(o.Namespace, o.Spec.Output.To, p.Child("output", "to"))
	case *buildv1.Build:
		return ownOutput(o.Namespace, o.Spec.Output.To, p.Child("output", "to"))
	case *appsv1.DeploymentConfig:
		return hookTenancy(o, p.Child("strategy"))
	}
	return nil
}

// foreign says that a project is a tenant. A missing one is not known yet.
func foreign(project string) bool { return project != "" && project != SystemProject }

// applicationTenancy: an Application of a tenant brings the tenant's repositories to
// the tenant's project, and nothing else.
func applicationTenancy(a *v1alpha1.Application, p *field.Path) field.ErrorList {
	if !foreign(a.Namespace) {
		return nil
	}
	var errs field.ErrorList
	if a.Spec.Project != a.Namespace {
		errs = append(errs, field.Invalid(p.Child("project"), a.Spec.Project,
			"must be "+a.Namespace+": only Applications of project "+SystemProject+" reach other projects"))
	}
	if ns := a.Spec.SourceRef.Namespace; ns != "" && ns != a.Namespace {
		errs = append(errs, field.Forbidden(p.Child("sourceRef", "namespace"), "an Application uses the repositories of its own project"))
	}
	return errs
}

// repositoryTenancy: a tenant's repository brings objects to the tenant's project only.
func repositoryTenancy(r *v1alpha1.GitRepository, p *field.Path) field.ErrorList {
	if !foreign(r.Namespace) {
		return nil
	}
	var errs field.ErrorList
	if strings.HasPrefix(strings.ToLower(r.Spec.URL), "file:") {
		errs = append(errs, field.Forbidden(p.Child("url"), "files of the host are open to project "+SystemProject+" only"))
	}
	for i, name := range r.Spec.Projects {
		if name != r.Namespace {
			errs = append(errs, field.Forbidden(p.Child("projects").Index(i), "only repositories of project "+SystemProject+" reach other projects"))
		}
	}
	return errs
}

// promotionTenancy lets a tenant's Promotion read the tags of its own repositories, of
// those where it promotes from, and of the administrators'; and write its own project's
// lock file.
func promotionTenancy(m *v1alpha1.Promotion, p *field.Path) field.ErrorList {
	if !foreign(m.Namespace) {
		return nil
	}
	var errs field.ErrorList
	if ns := m.Spec.On.SourceRef.Namespace; foreign(ns) && ns != m.Namespace && ns != m.Spec.From && m.Spec.From != m.Namespace {
		errs = append(errs, field.Forbidden(p.Child("on", "sourceRef", "namespace"), "must be the Promotion's own project, the one it promotes from, or "+SystemProject))
	}
	if ns := m.Spec.Write.SourceRef.Namespace; foreign(ns) && ns != m.Namespace {
		errs = append(errs, field.Forbidden(p.Child("write", "sourceRef", "namespace"), "must be the Promotion's own project or "+SystemProject))
	}
	lock := "projects/" + m.Namespace + "/images.lock.json"
	if path := m.Spec.Write.Path; m.Spec.Write.SourceRef.Namespace == SystemProject && path != lock && !strings.HasSuffix(path, "/"+lock) {
		errs = append(errs, field.Forbidden(p.Child("write", "path"), "in a repository of project "+SystemProject+" it must be "+lock+", in whatever folder"))
	}
	return errs
}

func hookTenancy(dc *appsv1.DeploymentConfig, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	hooks := func(at *field.Path, names []string, list ...*appsv1.LifecycleHook) {
		for i, h := range list {
			if h == nil {
				continue
			}
			for j := range h.TagImages {
				errs = append(errs, ownOutput(dc.Namespace, &h.TagImages[j].To, at.Child(names[i], "tagImages").Index(j).Child("to"))...)
			}
		}
	}
	if r := dc.Spec.Strategy.RollingParams; r != nil {
		hooks(p.Child("rollingParams"), []string{"pre", "post"}, r.Pre, r.Post)
	}
	if r := dc.Spec.Strategy.RecreateParams; r != nil {
		hooks(p.Child("recreateParams"), []string{"pre", "mid", "post"}, r.Pre, r.Mid, r.Post)
	}
	return errs
}

// ownOutput: images are written to streams of the object's own project.
func ownOutput(project string, to *corev1.ObjectReference, p *field.Path) field.ErrorList {
	if to == nil || to.Namespace == "" || project == "" || to.Namespace == project {
		return nil
	}
	return field.ErrorList{field.Forbidden(p.Child("namespace"), "images are written to the own project's streams only")}
}
