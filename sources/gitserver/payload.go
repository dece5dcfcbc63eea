package gitserver

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxCommits bounds how many commits a payload lists; the newest are kept.
const maxCommits = 20

// push is GitHub's push event, with its field names.
type push struct {
	Ref        string     `json:"ref"`
	Before     string     `json:"before"`
	After      string     `json:"after"`
	Created    bool       `json:"created"`
	Deleted    bool       `json:"deleted"`
	Forced     bool       `json:"forced"`
	HeadCommit *commit    `json:"head_commit"`
	Commits    []commit   `json:"commits"`
	Repository repository `json:"repository"`
	Pusher     person     `json:"pusher"`
}

type commit struct {
	ID        string `json:"id"`
	TreeID    string `json:"tree_id"`
	Message   string `json:"message"`
	Timestamp string `json:"timestamp"`
	Author    person `json:"author"`
	Committer person `json:"committer"`
}

type person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

type repository struct {
	Name          string `json:"name"`
	FullName      string `json:"full_name"`
	CloneURL      string `json:"clone_url"`
	HTMLURL       string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
}

func payload(repo *gogit.Repository, opts PostReceiveOptions, u Update) push {
	name := strings.TrimSuffix(filepath.Base(opts.Dir), ".git")
	p := push{
		Ref:     u.Ref,
		Before:  u.Old.String(),
		After:   u.New.String(),
		Created: u.Old.IsZero(),
		Deleted: u.New.IsZero(),
		Commits: []commit{},
		Repository: repository{
			Name:     name,
			FullName: path.Join("slipway", name),
			CloneURL: opts.CloneURL,
			HTMLURL:  strings.TrimSuffix(opts.CloneURL, ".git"),
		},
	}
	if head, err := repo.Reference(plumbing.HEAD, false); err == nil {
		p.Repository.DefaultBranch = head.Target().Short()
	}
	head := peel(repo, u.New)
	if head == nil {
		return p
	}
	said := describe(head)
	p.HeadCommit = &said
	p.Pusher = said.Committer
	p.Commits, p.Forced = between(repo, u, head)
	return p
}

// peel is the commit that a pushed object stands for; nil if there is none.
func peel(repo *gogit.Repository, h plumbing.Hash) *object.Commit {
	if h.IsZero() {
		return nil
	}
	if t, err := repo.TagObject(h); err == nil {
		c, err := t.Commit()
		if err != nil {
			return nil
		}
		return c
	}
	c, err := repo.CommitObject(h)
	if err != nil {
		return nil
	}
	return c
}

// between lists the newest commits of the push, oldest first as GitHub does, and
// says whether the old head is not behind the new one. Where the old head was not
// reached within the bound the push is not called forced.
func between(repo *gogit.Repository, u Update, head *object.Commit) (list []commit, forced bool) {
	list = []commit{}
	if u.Old.IsZero() {
		return list, false
	}
	ends := errors.New("enough")
	reached, all := false, true
	iter := object.NewCommitPreorderIter(head, map[plumbing.Hash]bool{}, nil)
	err := iter.ForEach(func(c *object.Commit) error {
		if c.Hash == u.Old {
			reached = true
			return storer.ErrStop
		}
		if len(list) == maxCommits {
			all = false
			return ends
		}
		list = append([]commit{describe(c)}, list...)
		return nil
	})
	return list, err == nil && all && !reached
}

func describe(c *object.Commit) commit {
	return commit{
		ID:        c.Hash.String(),
		TreeID:    c.TreeHash.String(),
		Message:   strings.TrimSpace(c.Message),
		Timestamp: c.Committer.When.Format(time.RFC3339),
		Author:    person{c.Author.Name, c.Author.Email},
		Committer: person{c.Committer.Name, c.Committer.Email},
	}
}
