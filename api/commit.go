package api

import (
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// CommitRequest asks for a commit to a repository that Slipway follows.
type CommitRequest struct {
	// Repository is the GitRepository to commit to.
	Repository types.NamespacedName
	// ID, if it is set, makes the request one that is carried out once: the commit carries
	// it as trailer Slipway-Request, and a commit of the branch that has it is the answer.
	ID string
	// Branch to commit to; default: the branch that the GitRepository follows, else the
	// one that the repository's HEAD names.
	Branch string
	// Base is the branch that Branch starts from where it does not exist yet; the same
	// default.
	Base string
	// Changes computes what to write from the tree at the branch's head: the new content
	// by path; nil deletes the path. It is called again on the new head when another
	// writer was faster, so it must be a function of the tree alone.
	Changes func(tree fs.FS) (map[string][]byte, error)
	// Message is the subject and body, without trailers.
	Message string
	// Trailers say what, why and from where, in this order.
	Trailers []Trailer
	// Author defaults to Slipway.
	Author Identity
}

// Trailer is one `Key: value` line at the end of a commit's message.
type Trailer struct {
	Key, Value string
}

// Identity is a commit's author.
type Identity struct {
	Name, Email string
}

// Commit is one commit of a repository's history.
type Commit struct {
	Hash    string
	Parents []string
	// Author is `name <address>`.
	Author  string
	Message string
	When    time.Time
}

// TagRequest asks for an annotated tag in a repository that Slipway follows.
type TagRequest struct {
	// Repository is the GitRepository to tag.
	Repository types.NamespacedName
	// Name, without refs/tags/. A tag that exists is never moved.
	Name string
	// Commit is the full hash of the commit to tag, which is at the repository.
	Commit string
	// Message is the subject and body, without trailers.
	Message  string
	Trailers []Trailer
	// Tagger defaults to Slipway.
	Tagger Identity
}
