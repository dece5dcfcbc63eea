package sources

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"

	"slipway.dev/slipway/api/v1alpha1"
)

// ErrNoRevision says that a repository has no such branch, tag or commit.
var ErrNoRevision = errors.New("no such revision")

// target is what a GitRepositoryRef chose: the object, and the short name of the
// branch or tag that was followed, if one was.
type target struct {
	hash plumbing.Hash
	// name is short for branches and tags, full for other references, empty for a commit.
	name string
	// ref is the full name, empty for a commit.
	ref string
}

// revision is how Flux writes it: `main@sha1:…`, or `sha1:…` for a bare commit.
func (t target) revision() string {
	if t.name == "" {
		return "sha1:" + t.hash.String()
	}
	return t.name + "@sha1:" + t.hash.String()
}

// also is what a ref needs looked at beside branches and tags. A commit is none of it:
// a server may refuse one that no reference names, although a branch brings it along.
func also(ref *v1alpha1.GitRepositoryRef) []string {
	if ref != nil && ref.Commit == "" && CheckRefName(ref.Name) == nil {
		return []string{ref.Name}
	}
	return nil
}

// resolve chooses, with Flux's precedence: commit, name, semver, tag, branch, and the
// repository's HEAD if there is none of these.
func resolve(r refs, ref *v1alpha1.GitRepositoryRef) (target, error) {
	if ref == nil {
		ref = &v1alpha1.GitRepositoryRef{}
	}
	switch {
	case ref.Commit != "":
		if !isHash(ref.Commit) {
			return target{}, fmt.Errorf("%w: commit %.80q is not a full SHA-1", ErrNoRevision, ref.Commit)
		}
		t := target{hash: plumbing.NewHash(ref.Commit)}
		if ref.Branch != "" && CheckRefName("refs/heads/"+ref.Branch) == nil {
			t.name, t.ref = ref.Branch, "refs/heads/"+ref.Branch
		}
		return t, nil
	case ref.Name != "":
		return named(r, ref.Name)
	case ref.SemVer != "":
		return highest(r, ref.SemVer)
	case ref.Tag != "":
		return named(r, "refs/tags/"+ref.Tag)
	case ref.Branch != "":
		return named(r, "refs/heads/"+ref.Branch)
	case r.head == "":
		return target{}, fmt.Errorf("%w: %s", ErrNoRevision, headless(r))
	}
	return named(r, r.head)
}

// headless says what to do where HEAD names nothing that is there, as in a bare repository that was
// made before its first branch was pushed under another name.
func headless(r refs) string {
	var branches []string
	for name := range r.names {
		if b, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			branches = append(branches, b)
		}
	}
	slices.Sort(branches)
	if len(branches) == 0 {
		return "the repository has no branches"
	}
	const shown = 5
	more := ""
	if len(branches) > shown {
		branches, more = branches[:shown], ", …"
	}
	return fmt.Sprintf("the repository's HEAD names no branch that it has: say which one is meant (--branch, spec.ref.branch): %s%s", strings.Join(branches, ", "), more)
}

func named(r refs, name string) (target, error) {
	if name == "HEAD" && r.head != "" {
		name = r.head
	}
	if err := CheckRefName(name); err != nil {
		return target{}, fmt.Errorf("%w: %w", ErrNoRevision, err)
	}
	h, ok := r.commit(name)
	if !ok {
		return target{}, fmt.Errorf("%w: %s", ErrNoRevision, describe(name))
	}
	return target{hash: h, name: short(name), ref: name}, nil
}

func short(name string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if s, ok := strings.CutPrefix(name, prefix); ok {
			return s
		}
	}
	return name
}

func describe(name string) string {
	if s, ok := strings.CutPrefix(name, "refs/heads/"); ok {
		return fmt.Sprintf("branch %q", s)
	}
	if s, ok := strings.CutPrefix(name, "refs/tags/"); ok {
		return fmt.Sprintf("tag %q", s)
	}
	return fmt.Sprintf("reference %q", name)
}

// highest is the tag with the highest version in the range; a leading v is allowed.
// Of tags that mean the same version the first by name wins, so that the choice
// does not change from look to look.
func highest(r refs, want string) (target, error) {
	constraint, err := semver.NewConstraint(want)
	if err != nil {
		return target{}, fmt.Errorf("%w: semver %.80q is not a range: %w", ErrNoRevision, want, err)
	}
	var best *semver.Version
	found := ""
	for name := range r.names {
		tag, ok := strings.CutPrefix(name, "refs/tags/")
		if !ok {
			continue
		}
		v, err := semver.NewVersion(tag)
		if err != nil || !constraint.Check(v) {
			continue
		}
		if best == nil || v.GreaterThan(best) || (v.Equal(best) && name < found) {
			best, found = v, name
		}
	}
	if best == nil {
		return target{}, fmt.Errorf("%w: no tag is in the range %q", ErrNoRevision, want)
	}
	return named(r, found)
}

// anyRef resolves what a person types: a branch, a tag, a full reference name, a full
// commit; nothing is HEAD.
func anyRef(r refs, word string) (target, error) {
	switch {
	case word == "" || word == "HEAD":
		return resolve(r, nil)
	case strings.HasPrefix(word, "refs/"):
		return named(r, word)
	}
	for _, name := range []string{"refs/heads/" + word, "refs/tags/" + word} {
		if _, ok := r.commit(name); ok {
			return named(r, name)
		}
	}
	if isHash(word) {
		return target{hash: plumbing.NewHash(word)}, nil
	}
	return target{}, fmt.Errorf("%w: %.200q is no branch, tag or full commit", ErrNoRevision, word)
}
