package api

import (
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultBuild(b *buildv1.Build) {
	defaultCommonSpec(&b.Spec.CommonSpec)
	setDefault(&b.Status.Phase, buildv1.BuildPhaseNew)
}

func validateBuild(b *buildv1.Build) field.ErrorList {
	return validateCommonSpec(&b.Spec.CommonSpec, field.NewPath("spec"))
}

// phaseOrder ranks the phases: a build never goes back, and the last ones are final.
var phaseOrder = [][]buildv1.BuildPhase{
	{"", buildv1.BuildPhaseNew}, {buildv1.BuildPhasePending}, {buildv1.BuildPhaseRunning},
	{buildv1.BuildPhaseComplete, buildv1.BuildPhaseFailed, buildv1.BuildPhaseError, buildv1.BuildPhaseCancelled},
}

func phaseRank(p buildv1.BuildPhase) int {
	return slices.IndexFunc(phaseOrder, func(same []buildv1.BuildPhase) bool { return slices.Contains(same, p) })
}

// updateBuild lets a build's inputs be resolved until it is bound to a node, then only
// its revision; and lets its phase only go on.
func updateBuild(n, old *buildv1.Build) field.ErrorList {
	var errs field.ErrorList
	from, to := phaseRank(old.Status.Phase), phaseRank(n.Status.Phase)
	final := from == len(phaseOrder)-1
	if to < from || final && n.Status.Phase != old.Status.Phase {
		errs = append(errs, field.Invalid(field.NewPath("status", "phase"), n.Status.Phase, "a build in phase "+string(old.Status.Phase)+" cannot go to this one"))
	}
	if from <= 0 {
		return errs
	}
	a, b := n.Spec.DeepCopy(), old.Spec.DeepCopy()
	if !final {
		a.Revision, b.Revision = nil, nil
	}
	if !equality.Semantic.DeepEqual(a, b) {
		errs = append(errs, field.Forbidden(field.NewPath("spec"), "a build's spec may not change once it was started"))
	}
	return errs
}
