package build

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// Decision is what is to be done with the builds of one configuration.
type Decision struct {
	// Start lists what may go now, in this order; once one that is not Parallel went,
	// nothing after it does.
	Start  []*buildv1.Build
	Cancel []*buildv1.Build
	Prune  []*buildv1.Build
}

// Decide applies the builds' run policies and the configuration's history limits. The
// policy is each build's own, as the configuration was when the build was made.
//
//   - Serial: the lowest number goes when none is pending or running.
//   - SerialLatestOnly: the same, and it cancels the older ones that still wait.
//   - Parallel: goes unless a build of a serial policy is pending or running.
//
// So a Parallel build whose input is not there yet holds up nobody, and neither does a
// serial one hold up Parallel ones before it runs.
// Source: OpenShift 3.11, pkg/build/controller/policy.
func Decide(bc *buildv1.BuildConfig, builds []*buildv1.Build) Decision {
	builds = slices.Clone(builds)
	slices.SortStableFunc(builds, func(a, b *buildv1.Build) int { return cmp.Compare(number(a), number(b)) })
	var d Decision
	var waiting []*buildv1.Build
	busy, serialBusy := false, false
	for _, b := range builds {
		switch {
		case active(b):
			busy = true
			serialBusy = serialBusy || policyOf(b) != buildv1.BuildRunPolicyParallel
		case terminal(b):
		case b.Status.Cancelled:
			d.Cancel = append(d.Cancel, b)
		default:
			if policyOf(b) == buildv1.BuildRunPolicySerialLatestOnly {
				d.Cancel, waiting = append(d.Cancel, waiting...), nil
			}
			waiting = append(waiting, b)
		}
	}
	for i, b := range waiting {
		if policyOf(b) == buildv1.BuildRunPolicyParallel && !serialBusy || i == 0 && !busy {
			d.Start = append(d.Start, b)
		}
	}
	d.Prune = prune(bc, builds)
	return d
}

// prune lists the finished builds beyond the configuration's history limits, oldest first.
func prune(bc *buildv1.BuildConfig, sorted []*buildv1.Build) []*buildv1.Build {
	var good, bad []*buildv1.Build
	for _, b := range sorted {
		switch {
		case b.Status.Phase == buildv1.BuildPhaseComplete:
			good = append(good, b)
		case terminal(b):
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

// lost lists the builds that are bound to a node that is not there.
func lost(builds []*buildv1.Build, nodes sets.Set[string]) []*buildv1.Build {
	var out []*buildv1.Build
	for _, b := range builds {
		if active(b) && !nodes.Has(b.Annotations[api.NodeAnnotation]) {
			out = append(out, b)
		}
	}
	return out
}

func anyActive(builds []*buildv1.Build) bool { return slices.ContainsFunc(builds, active) }

// active says that a build has a node and has not ended.
func active(b *buildv1.Build) bool {
	return b.Status.Phase == buildv1.BuildPhasePending || b.Status.Phase == buildv1.BuildPhaseRunning
}

func terminal(b *buildv1.Build) bool {
	switch b.Status.Phase {
	case buildv1.BuildPhaseComplete, buildv1.BuildPhaseFailed, buildv1.BuildPhaseError, buildv1.BuildPhaseCancelled:
		return true
	}
	return false
}

// policyOf is the run policy that a build was made with; Serial where none is noted.
func policyOf(b *buildv1.Build) buildv1.BuildRunPolicy {
	return cmp.Or(buildv1.BuildRunPolicy(b.Labels[buildv1.BuildRunPolicyLabel]), buildv1.BuildRunPolicySerial)
}

// number is a build's place among those of its configuration.
func number(b *buildv1.Build) int64 {
	s := b.Annotations[buildv1.BuildNumberAnnotation]
	if s == "" {
		s = b.Name[strings.LastIndex(b.Name, "-")+1:]
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// configName is the name of a build's configuration. The annotation has it whole; a
// label may hold 63 characters of it only.
func configName(b client.Object) string {
	return cmp.Or(b.GetAnnotations()[buildv1.BuildConfigAnnotation], b.GetLabels()[buildv1.BuildConfigLabel])
}
