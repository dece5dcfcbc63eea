package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// Reasons of a Promotion's condition Ready.
const (
	reasonPromoted = "Promoted"
	reasonWaiting  = "Waiting"
	reasonFailed   = "Failed"
	reasonNoTag    = "NoTag"
)

// NextTag chooses the tag to promote: the highest version in the range, if it is
// higher than that of the last promoted tag; so that no tag is promoted twice, and the
// revert of a promotion stays in force. Tags that are no versions are not looked at.
func NextTag(tags []v1alpha1.GitTag, semverRange, last string) (*v1alpha1.GitTag, error) {
	if semverRange == "" {
		semverRange = ">=0.0.0"
	}
	within, err := semver.NewConstraint(semverRange)
	if err != nil {
		return nil, fmt.Errorf("spec.on.semver: %q: %w", semverRange, err)
	}
	var best *v1alpha1.GitTag
	var highest *semver.Version
	for _, t := range tags {
		v, err := semver.NewVersion(t.Name)
		if err != nil || !within.Check(v) {
			continue
		}
		if highest == nil || v.GreaterThan(highest) || v.Equal(highest) && t.Name < best.Name {
			best, highest = &t, v
		}
	}
	if best == nil || best.Name == last {
		return nil, nil
	}
	if v, err := semver.NewVersion(last); err == nil && !highest.GreaterThan(v) {
		return nil, nil
	}
	return best, nil
}

type promotions struct {
	Deps
	// repositories are what promotions read tags from, projects where they take images
	// from and where they put them, as keys without a name.
	repositories, projects references
}

func (c *promotions) inProject(o client.Object) []loop.Key {
	return c.projects.of(loop.Key{Namespace: o.GetNamespace()})
}

func (c *promotions) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var p v1alpha1.Promotion
	if err := c.Client.Get(ctx, key, &p); err != nil {
		if apierrors.IsNotFound(err) {
			c.repositories.note(key)
			c.projects.note(key)
		}
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	c.repositories.note(key, sourceKey(&p, p.Spec.On.SourceRef), sourceKey(&p, p.Spec.Write.SourceRef))
	c.projects.note(key, loop.Key{Namespace: p.Spec.From}, loop.Key{Namespace: p.Namespace})
	status := *p.Status.DeepCopy()
	status.ObservedGeneration = p.Generation
	failed := c.promote(ctx, &p, &status)
	if !equality.Semantic.DeepEqual(status, p.Status) {
		p.Status = status
		if err := c.Client.Status().Update(ctx, &p); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	return again(&status), failed
}

// promote does what is due and writes into status how it stands. An error is something
// to try again.
func (c *promotions) promote(ctx context.Context, p *v1alpha1.Promotion, status *v1alpha1.PromotionStatus) error {
	say := func(truth metav1.ConditionStatus, reason, format string, args ...any) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: "Ready", Status: truth, Reason: reason, Message: fmt.Sprintf(format, args...), ObservedGeneration: p.Generation,
		})
	}
	var repo v1alpha1.GitRepository
	from := sourceKey(p, p.Spec.On.SourceRef)
	if err := c.Client.Get(ctx, from, &repo); apierrors.IsNotFound(err) {
		say(metav1.ConditionFalse, reasonWaiting, "git repository %s does not exist", from)
		return nil
	} else if err != nil {
		return err
	}
	tag, err := NextTag(repo.Status.Tags, p.Spec.On.SemVer, status.LastTag)
	switch {
	case err != nil:
		say(metav1.ConditionFalse, reasonFailed, "%v", err)
		return nil
	case tag == nil && status.LastTag == "":
		say(metav1.ConditionTrue, reasonNoTag, "git repository %s has no tag in %s yet", from, p.Spec.On.SemVer)
		return nil
	case tag == nil:
		say(metav1.ConditionTrue, reasonPromoted, "%s is promoted", status.LastTag)
		return nil
	}
	images, missing, err := c.imagesOf(ctx, p, *tag)
	if err != nil {
		return err
	}
	if len(missing) > 0 || len(images) == 0 {
		what := "no stream of " + p.Namespace + " is in " + p.Spec.From + " too"
		if len(missing) > 0 {
			what = "no image of commit " + short(tag.Commit) + " yet in " + strings.Join(missing, ", ")
		}
		say(metav1.ConditionFalse, reasonWaiting, "%s is waiting: %s", tag.Name, what)
		return nil
	}
	commit, err := c.commit(ctx, p, *tag, images)
	if errors.Is(err, errHeld) {
		say(metav1.ConditionFalse, reasonHeld, "%s: %v", tag.Name, err)
		return nil
	}
	if err != nil {
		say(metav1.ConditionFalse, reasonFailed, "%s: %v", tag.Name, err)
		c.Events.Event(p, corev1.EventTypeWarning, "PromotionFailed", "%s: %v", tag.Name, err)
		return fmt.Errorf("promotion %s/%s: %s: %w", p.Namespace, p.Name, tag.Name, err)
	}
	status.LastTag, status.LastTagCommit, status.Commit = tag.Name, tag.Commit, commit
	say(metav1.ConditionTrue, reasonPromoted, "%s is promoted", tag.Name)
	c.Events.Event(p, corev1.EventTypeNormal, "Promoted", "Promoted %s to %s by commit %s", tag.Name, p.Namespace, short(commit))
	return nil
}

func sourceKey(p *v1alpha1.Promotion, r v1alpha1.SourceReference) loop.Key {
	if r.Namespace == "" {
		return loop.Key{Namespace: p.Namespace, Name: r.Name}
	}
	return loop.Key{Namespace: r.Namespace, Name: r.Name}
}

func targetTag(p *v1alpha1.Promotion) string {
	if p.Spec.Tag == "" {
		return "live"
	}
	return p.Spec.Tag
}

// imagesOf finds, for each stream, the newest image built from the tag's commit. missing
// lists the streams, as `project/stream`, that have none.
func (c *promotions) imagesOf(ctx context.Context, p *v1alpha1.Promotion, tag v1alpha1.GitTag) (images map[string]v1alpha1.LockedImage, missing []string, err error) {
	var there, here imagev1.ImageStreamList
	if err := c.Client.List(ctx, &there, client.InNamespace(p.Spec.From)); err != nil {
		return nil, nil, err
	}
	if err := c.Client.List(ctx, &here, client.InNamespace(p.Namespace)); err != nil {
		return nil, nil, err
	}
	sources := map[string]*imagev1.ImageStream{}
	for i := range there.Items {
		sources[there.Items[i].Name] = &there.Items[i]
	}
	names := slices.Clone(p.Spec.Streams)
	if len(names) == 0 {
		for _, s := range here.Items {
			if sources[s.Name] != nil {
				names = append(names, s.Name)
			}
		}
	}
	images = map[string]v1alpha1.LockedImage{}
	for _, name := range names {
		digest := ""
		if s := sources[name]; s != nil {
			if digest, err = c.builtFrom(ctx, s, tag.Commit); err != nil {
				return nil, nil, err
			}
		}
		if digest == "" {
			missing = append(missing, p.Spec.From+"/"+name)
			continue
		}
		images[api.ImageStreamTagName(name, targetTag(p))] = v1alpha1.LockedImage{
			From: p.Spec.From + "/" + name, Digest: digest, Commit: tag.Commit, Tag: tag.Name,
		}
	}
	return images, missing, nil
}

// builtFrom is the newest image in a stream's history whose label names the commit.
func (c *promotions) builtFrom(ctx context.Context, s *imagev1.ImageStream, commit string) (string, error) {
	var events []imagev1.TagEvent
	for _, t := range s.Status.Tags {
		events = append(events, t.Items...)
	}
	slices.SortStableFunc(events, func(a, b imagev1.TagEvent) int { return b.Created.Compare(a.Created.Time) })
	looked := map[string]bool{}
	for _, e := range events {
		if e.Image == "" || looked[e.Image] {
			continue
		}
		looked[e.Image] = true
		var image imagev1.Image
		if err := c.Client.Get(ctx, client.ObjectKey{Name: e.Image}, &image); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return "", err
		}
		labels, err := api.ImageLabels(&image)
		if err != nil {
			return "", err
		}
		if labels[api.LabelCommit] == commit {
			return e.Image, nil
		}
	}
	return "", nil
}

// commit writes the lock file. Where it says so already, the promotion was written by
// a process that died before it could note it, and no second commit is made.
func (c *promotions) commit(ctx context.Context, p *v1alpha1.Promotion, tag v1alpha1.GitTag, images map[string]v1alpha1.LockedImage) (string, error) {
	if c.Commits == nil {
		return "", errors.New("nothing is there that could commit")
	}
	path := p.Spec.Write.Path
	if path == "" {
		path = "projects/" + p.Namespace + "/images.lock.json"
	}
	if err := c.heldByApplications(ctx, p.Namespace, images); err != nil {
		return "", err
	}
	body, err := c.explain(ctx, p, tag, images)
	if err != nil {
		return "", err
	}
	return c.Commits.Commit(ctx, api.CommitRequest{
		Repository: sourceKey(p, p.Spec.Write.SourceRef),
		Branch:     p.Spec.Write.Branch,
		// Found in the branch again whatever live state has forgotten, so that a promotion is
		// neither repeated after a crash nor over its revert.
		ID:      fmt.Sprintf("promotion %s/%s %s %s", p.Namespace, p.Name, tag.Name, tag.Commit),
		Message: body,
		Trailers: []api.Trailer{
			{Key: "Slipway-Promotion", Value: p.Namespace + "/" + p.Name},
			{Key: "Slipway-Tag", Value: tag.Name},
			{Key: "Slipway-From", Value: tag.Commit},
		},
		Changes: func(tree fs.FS) (map[string][]byte, error) {
			if err := c.heldInTree(tree, path, images); err != nil {
				return nil, err
			}
			old, err := fs.ReadFile(tree, path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			content, err := Relock(old, images)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			if content == nil {
				return nil, nil
			}
			return map[string][]byte{path: content}, nil
		},
	})
}

// explain writes the commit's message: what moves, from which image to which.
func (c *promotions) explain(ctx context.Context, p *v1alpha1.Promotion, tag v1alpha1.GitTag, images map[string]v1alpha1.LockedImage) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "promote: %s %s to %s\n\n", p.Name, tag.Name, p.Namespace)
	var names []string
	for name := range images {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		stream, streamTag, _ := strings.Cut(name, ":")
		var s imagev1.ImageStream
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: stream}, &s); client.IgnoreNotFound(err) != nil {
			return "", err
		}
		old := "none"
		if _, image, ok := api.Resolve(&s, streamTag); ok && image != "" {
			old = short(image)
		}
		fmt.Fprintf(&b, "%s: %s -> %s (%s)\n", name, old, short(images[name].Digest), images[name].From)
	}
	return b.String(), nil
}

// short is a commit or a digest as people read it.
func short(hash string) string {
	algorithm, hex, found := strings.Cut(hash, ":")
	if !found {
		hex, algorithm = hash, ""
	} else {
		algorithm += ":"
	}
	return algorithm + hex[:min(len(hex), 12)]
}
