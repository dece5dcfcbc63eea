package webhooks

import (
	"fmt"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

// event is what a call of a build's webhook says.
type event struct {
	// other is why nothing is to be built whatever the BuildConfig says; empty otherwise.
	other string
	// any starts a build of what the BuildConfig's own reference names.
	any bool
	// pushes are the references that moved.
	pushes []pushed
	// defaultBranch of the repository, if the host says it.
	defaultBranch string
	env           []corev1.EnvVar
	docker        *buildv1.DockerStrategyOptions
}

// pushed is a reference and what it moved to.
type pushed struct {
	ref      string
	revision buildv1.GitSourceRevision
}

// decide says what revision is to be built, nil for what the BuildConfig's reference
// names; why is set where nothing is.
func decide(bc *buildv1.BuildConfig, ev event) (revision *buildv1.SourceRevision, why string) {
	if ev.other != "" {
		return nil, "no build: " + ev.other
	}
	if ev.any {
		return nil, ""
	}
	for _, p := range ev.pushes {
		if !followed(bc, p.ref, ev.defaultBranch) {
			continue
		}
		git := p.revision
		if git.Commit == "" {
			return nil, ""
		}
		return &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &git}, ""
	}
	return nil, fmt.Sprintf("no build: none of the references that moved is the one that BuildConfig %s builds", bc.Name)
}

// followed compares a reference with source.git.ref, or with the repository's default
// branch. Where the host does not say that one, main and master are.
func followed(bc *buildv1.BuildConfig, ref, defaultBranch string) bool {
	ref = strings.TrimPrefix(ref, "refs/heads/")
	if git := bc.Spec.Source.Git; git != nil && git.Ref != "" {
		return ref == strings.TrimPrefix(git.Ref, "refs/heads/")
	}
	if defaultBranch != "" {
		return ref == defaultBranch
	}
	return ref == "main" || ref == "master"
}
