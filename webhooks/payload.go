package webhooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	"sigs.k8s.io/yaml"
)

var errPayload = errors.New("the payload cannot be read")

// user is a person in a payload; hosts agree on these two names.
type user struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

func (u user) control() buildv1.SourceControlUser {
	return buildv1.SourceControlUser{Name: u.Name, Email: u.Email}
}

type commit struct {
	ID        string `json:"id"`
	Message   string `json:"message"`
	Author    user   `json:"author"`
	Committer user   `json:"committer"`
}

func (c commit) revision() (buildv1.GitSourceRevision, error) {
	return revision(c.ID, c.Message, c.Author, c.Committer)
}

// revision refuses a commit that is none: it becomes an argument of git operations.
func revision(id, message string, author, committer user) (buildv1.GitSourceRevision, error) {
	if id != "" && !isCommit(id) {
		return buildv1.GitSourceRevision{}, fmt.Errorf("%w: %.60q is not a commit", errPayload, id)
	}
	return buildv1.GitSourceRevision{Commit: id, Message: message, Author: author.control(), Committer: committer.control()}, nil
}

// isCommit says whether id is a full SHA-1 in lower-case hex.
func isCommit(id string) bool {
	return len(id) == 40 && strings.Trim(id, "0123456789abcdef") == ""
}

func deleted(id string) bool { return strings.Trim(id, "0") == "" }

func isJSON(header http.Header) error {
	if t, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || t != "application/json" {
		return fmt.Errorf("unsupported Content-Type %.60q, want application/json", header.Get("Content-Type"))
	}
	return nil
}

func unmarshal(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %w", errPayload, err)
	}
	return nil
}

// parseGitHub reads GitHub's push event, which Gitea and Gogs send too.
func parseGitHub(header http.Header, body []byte) (event, error) {
	if err := isJSON(header); err != nil {
		return event{}, err
	}
	kind := header.Get("X-GitHub-Event")
	if kind == "" {
		kind = header.Get("X-Gogs-Event")
	}
	switch kind {
	case "":
		return event{}, errors.New("missing X-GitHub-Event or X-Gogs-Event")
	case "ping":
		return event{other: "this is a ping"}, nil
	case "push":
	default:
		return event{}, fmt.Errorf("unknown X-GitHub-Event or X-Gogs-Event %.60q", kind)
	}
	var p struct {
		Ref        string   `json:"ref"`
		After      string   `json:"after"`
		Deleted    bool     `json:"deleted"`
		HeadCommit *commit  `json:"head_commit"`
		Commits    []commit `json:"commits"`
		Repository struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"repository"`
	}
	if err := unmarshal(body, &p); err != nil {
		return event{}, err
	}
	if p.Deleted || p.HeadCommit == nil && deleted(p.After) {
		return event{other: "the reference was deleted"}, nil
	}
	if p.HeadCommit == nil { // Gogs has none
		p.HeadCommit = &commit{ID: p.After}
	}
	rev, err := p.HeadCommit.revision()
	return event{pushes: []pushed{{p.Ref, rev}}, defaultBranch: p.Repository.DefaultBranch}, err
}

// parseGitLab reads GitLab's push event; its newest commit comes last.
func parseGitLab(header http.Header, body []byte) (event, error) {
	if err := isJSON(header); err != nil {
		return event{}, err
	}
	if kind := header.Get("X-Gitlab-Event"); kind != "Push Hook" {
		return event{}, fmt.Errorf("unknown X-Gitlab-Event %.60q", kind)
	}
	var p struct {
		Ref     string   `json:"ref"`
		After   string   `json:"after"`
		Commits []commit `json:"commits"`
		Project struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"project"`
	}
	if err := unmarshal(body, &p); err != nil {
		return event{}, err
	}
	head := commit{ID: p.After}
	if n := len(p.Commits); n > 0 {
		head = p.Commits[n-1]
	}
	if deleted(head.ID) {
		return event{other: "the reference was deleted"}, nil
	}
	if head.Committer == (user{}) {
		head.Committer = head.Author
	}
	rev, err := head.revision()
	return event{pushes: []pushed{{p.Ref, rev}}, defaultBranch: p.Project.DefaultBranch}, err
}

// parseGeneric reads OpenShift's own format, as JSON or YAML; no body at all is a
// build of what the BuildConfig names.
func parseGeneric(header http.Header, body []byte) (event, error) {
	if len(strings.TrimSpace(string(body))) == 0 {
		return event{any: true}, nil
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	var p buildv1.GenericWebHookEvent
	switch {
	case err == nil && kind == "application/json":
		err = unmarshal(body, &p)
	case err == nil && (kind == "application/yaml" || kind == "application/x-yaml" || kind == "text/yaml"):
		if err = yaml.Unmarshal(body, &p); err != nil {
			err = fmt.Errorf("%w: %w", errPayload, err)
		}
	default:
		err = fmt.Errorf("unsupported Content-Type %.60q, want application/json or application/yaml", header.Get("Content-Type"))
	}
	if err != nil {
		return event{}, err
	}
	ev := event{env: p.Env, docker: p.DockerStrategyOptions, any: p.Git == nil}
	if p.Git == nil {
		return ev, nil
	}
	refs := p.Git.Refs
	if refs == nil {
		refs = []buildv1.GitRefInfo{{GitBuildSource: p.Git.GitBuildSource, GitSourceRevision: p.Git.GitSourceRevision}}
	}
	for _, r := range refs {
		if r.Commit != "" && !isCommit(r.Commit) {
			return event{}, fmt.Errorf("%w: %.60q is not a commit", errPayload, r.Commit)
		}
		ev.pushes = append(ev.pushes, pushed{r.Ref, r.GitSourceRevision})
	}
	return ev, nil
}
