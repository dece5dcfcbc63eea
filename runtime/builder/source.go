package builder

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/mail"
	"path"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// job is one run of one build.
type job struct {
	*Builder
	build *buildv1.Build
	out   *buildLog
	rev   api.Revision
	// tree is the part of the source that is built.
	tree fs.FS
	// steps counts the containers that were made.
	steps int
	// touched are the beginnings of the ids of the images that the engine made or used.
	touched []string
	// image is what the strategy made.
	image string
}

// fetch gets the source and writes the commit into the build.
func (j *job) fetch(ctx context.Context) error {
	src := j.build.Spec.Source
	j.tree, j.rev.When = embed.FS{}, time.Unix(0, 0).UTC()
	if src.Git == nil {
		if src.Binary != nil {
			return fail(buildv1.StatusReasonFetchSourceFailed, fmt.Errorf("spec.source.binary: binary sources are not supported: builds come from git"))
		}
		return nil
	}
	var commit string
	if r := j.build.Spec.Revision; r != nil && r.Git != nil {
		commit = r.Git.Commit
	}
	var secret *corev1.Secret
	if src.SourceSecret != nil {
		secret = &corev1.Secret{}
		if err := j.Client.Get(ctx, types.NamespacedName{Namespace: j.build.Namespace, Name: src.SourceSecret.Name}, secret); err != nil {
			return fail(buildv1.StatusReasonFetchSourceFailed, fmt.Errorf("spec.source.sourceSecret: %w", err))
		}
	}
	rev, err := j.Sources.Source(ctx, src.Git.URI, src.Git.Ref, commit, secret)
	if err != nil {
		return fail(buildv1.StatusReasonFetchSourceFailed, fmt.Errorf("fetch %s: %w", src.Git.URI, err))
	}
	fmt.Fprintf(j.out, "source %s at %s: %s\n", src.Git.URI, rev.Commit, firstLine(rev.Message))
	j.rev = rev
	if j.tree, err = contextDir(rev.Tree, src.ContextDir); err != nil {
		return fail(buildv1.StatusReasonInvalidContextDirectory, fmt.Errorf("spec.source.contextDir: %w, at commit %s", err, rev.Commit))
	}
	return j.noteRevision(ctx)
}

// contextDir is the part of a tree that is built; empty: all of it.
func contextDir(tree fs.FS, dir string) (fs.FS, error) {
	dir = path.Clean(strings.TrimPrefix(dir, "/"))
	if dir == "." {
		return tree, nil
	}
	if info, err := fs.Stat(tree, dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("no folder %q", dir)
	}
	return fs.Sub(tree, dir)
}

func (j *job) noteRevision(ctx context.Context) error {
	rev := &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{
		Commit: j.rev.Commit, Message: firstLine(j.rev.Message), Author: author(j.rev.Author),
	}}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := &buildv1.Build{}
		if err := j.Client.Get(ctx, kube.ObjectKeyFromObject(j.build), now); err != nil {
			return err
		}
		if r := now.Spec.Revision; r == nil || r.Git == nil || r.Git.Commit != j.rev.Commit || r.Git.Author.Name == "" {
			now.Spec.Revision = rev
			if err := j.Client.Update(ctx, now); err != nil {
				return err
			}
		}
		j.build = now
		return nil
	})
}

// author takes `Name <address>` apart.
func author(s string) buildv1.SourceControlUser {
	if a, err := mail.ParseAddress(s); err == nil && a.Name != "" {
		return buildv1.SourceControlUser{Name: a.Name, Email: a.Address}
	}
	return buildv1.SourceControlUser{Name: s}
}
