package deploy

import (
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// recreate ends all old pods, then starts the new: the first one alone, to be accepted,
// where there is a version to fall back to. A Rolling strategy without such a version
// begins the same way, with mid nil.
func (r Rollout) recreate(mid *appsv1.LifecycleHook, timeout time.Duration) Move {
	var down []Scale
	ending := false
	for _, rc := range r.old() {
		if replicas(rc) > 0 {
			down = append(down, Scale{rc.Name, 0})
		}
		if p := r.Pods[rc.Name]; p.Live+p.Leaving > 0 {
			ending = true
		}
	}
	if len(down) > 0 {
		return Move{Scale: down}
	}
	if ending {
		return r.wait(timeout, 0, "the old pods to end")
	}
	if m, over := r.hook(Mid, mid); !over {
		return m
	}

	desired, asked, pods := desiredReplicas(r.To), replicas(r.To), r.Pods[r.To.Name]
	first := desired
	if r.From != nil {
		first = min(1, desired)
	}
	switch {
	case asked < first:
		return Move{Scale: []Scale{{r.To.Name, first}}}
	case pods.Available < first:
		return r.wait(timeout, pods.Next, "pods of "+r.To.Name+" to become available")
	case asked < desired:
		return Move{Scale: []Scale{{r.To.Name, desired}}}
	case pods.Live < desired:
		return r.wait(timeout, 0, "pods of "+r.To.Name+" to be made")
	}
	return Move{}
}

// custom follows the pod of a Custom strategy: its success is the go-ahead, its failure the
// end. The API takes no writes, so that the pod cannot scale anything itself: the version is
// brought up beside the one that serves, which goes only then.
func (r Rollout) custom(phase appsv1.DeploymentStatus) Move {
	if !r.hookOver(deployed).IsZero() {
		return r.beside()
	}
	switch r.Deployer.Phase {
	case "":
		if phase == appsv1.DeploymentStatusNew {
			return Move{Deploy: true}
		}
		return fail("deployer pod %s disappeared", DeployerPodName(r.To.Name))
	case corev1.PodFailed:
		return fail("deployer pod %s failed: %s", DeployerPodName(r.To.Name), r.Deployer.Message)
	}
	begun := r.Deployer.Phase == corev1.PodRunning || r.Deployer.Phase == corev1.PodSucceeded
	switch {
	case phase == appsv1.DeploymentStatusNew:
		return Move{Phase: appsv1.DeploymentStatusPending}
	case phase == appsv1.DeploymentStatusPending && begun:
		return Move{Phase: appsv1.DeploymentStatusRunning}
	case phase == appsv1.DeploymentStatusRunning && r.Deployer.Phase == corev1.PodSucceeded:
		return Move{Moment: deployed, Over: true}
	}
	return Move{}
}

// beside brings the new version to its full size while the old ones go on.
func (r Rollout) beside() Move {
	desired, n := desiredReplicas(r.To), r.Pods[r.To.Name]
	switch {
	case replicas(r.To) < desired:
		return Move{Scale: []Scale{{r.To.Name, desired}}}
	case n.Available < desired:
		return r.wait(defaultTimeout, n.Next, "pods of "+r.To.Name+" to become available")
	}
	return Move{Phase: appsv1.DeploymentStatusComplete}
}
