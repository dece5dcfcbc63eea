package build

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
)

// Decision is what is to be done with the builds of one configuration.
type Decision struct {
	Start  []*buildv1.Build
	Cancel []*buildv1.Build
	Prune  []*buildv1.Build
}

// Decide applies a configuration's run policy and history limits to its builds.
//
//   - Serial: the lowest number goes when none is pending or running.
//   - SerialLatestOnly: the same, and of the waiting ones only the newest stays.
//   - Parallel: each goes at once.
//
// A build whose input is not there yet waits without holding up its followers under
// Parallel; under the serial policies order is kept. Source: OpenShift 3.11, pkg/build/controller/policy.
func Decide(bc *buildv1.BuildConfig, builds []*buildv1.Build) Decision {
	builds = slices.Clone(builds)
	slices.SortFunc(builds, func(a, b *buildv1.Build) int { return cmp.Compare(number(a), number(b)) })
	var d Decision
	var waiting []*buildv1.Build
	active := false
	for _, b := range builds {
		switch {
		case b.Status.Phase == buildv1.BuildPhaseNew && b.Status.Cancelled:
			d.Cancel = append(d.Cancel, b)
		case b.Status.Phase == buildv1.BuildPhaseNew || b.Status.Phase == "":
			waiting = append(waiting, b)
		case b.Status.Phase == buildv1.BuildPhasePending || b.Status.Phase == buildv1.BuildPhaseRunning:
			active = true
		}
	}
	policy := buildv1.BuildRunPolicySerial
	if bc != nil && bc.Spec.RunPolicy != "" {
		policy = bc.Spec.RunPolicy
	}
	if policy == buildv1.BuildRunPolicySerialLatestOnly && len(waiting) > 1 {
		d.Cancel = append(d.Cancel, waiting[:len(waiting)-1]...)
		waiting = waiting[len(waiting)-1:]
	}
	switch {
	case policy == buildv1.BuildRunPolicyParallel:
		d.Start = waiting
	case !active && len(waiting) > 0:
		d.Start = waiting[:1]
	}
	if bc != nil {
		d.Prune = prune(bc, builds)
	}
	return d
}

// prune lists the finished builds beyond the configuration's history limits, oldest first.
func prune(bc *buildv1.BuildConfig, sorted []*buildv1.Build) []*buildv1.Build {
	var good, bad []*buildv1.Build
	for _, b := range sorted {
		switch b.Status.Phase {
		case buildv1.BuildPhaseComplete:
			good = append(good, b)
		case buildv1.BuildPhaseFailed, buildv1.BuildPhaseError, buildv1.BuildPhaseCancelled:
			bad = append(bad, b)
		}
	}
	return append(beyond(good, bc.Spec.SuccessfulBuildsHistoryLimit), beyond(bad, bc.Spec.FailedBuildsHistoryLimit)...)
}

func beyond(builds []*buildv1.Build, limit *int32) []*buildv1.Build {
	if limit == nil || len(builds) <= int(*limit) {
		return nil
	}
	return builds[:len(builds)-int(*limit)]
}

// number is a build's place among those of its configuration.
func number(b *buildv1.Build) int {
	s := b.Annotations[buildv1.BuildNumberAnnotation]
	if s == "" {
		s = b.Name[strings.LastIndex(b.Name, "-")+1:]
	}
	n, _ := strconv.Atoi(s)
	return n
}

func ownerLabel(key string) bool { return strings.HasPrefix(key, "application.slipway.dev/") }
