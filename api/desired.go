package api

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api/v1alpha1"
)

// Revision is a commit of a repository and the tree it holds. The tree is read
// out of the object store; nothing is checked out.
type Revision struct {
	// Repository is `namespace/name` of the GitRepository.
	Repository string
	URL        string
	// Branch is the short name of the branch or tag that was followed, if one was.
	Branch  string
	Commit  string
	Author  string
	Message string
	When    time.Time
	// Signer is who signed the commit or tag, where the GitRepository asks for signatures.
	Signer string
	// Tree may implement TreeDigests.
	Tree fs.FS
}

// Problem is a mistake in a repository, with the place where it can be mended.
type Problem = v1alpha1.Problem

// Problems is every mistake of an application, as one error.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = ProblemString(one)
	}
	return strings.Join(lines, "\n")
}

// ProblemString reads `file:line: object: field: message (via)`, leaving out what is not known.
func ProblemString(p Problem) string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	for _, part := range []string{p.Object, p.Field} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(p.Message)
	if p.Via != "" {
		b.WriteString(" (" + p.Via + ")")
	}
	return b.String()
}

// Origin is where a desired object comes from.
type Origin struct {
	File string
	// Line of the object's first line, from 1; 0 where it is not known. In Jsonnet it is the
	// line that can be seen, without evaluating, to make the object.
	Line int
	// FieldLines maps a field's path (`spec.replicas`, `spec.ports[0].port`) to its line, for
	// objects written as YAML or JSON, and for what a Jsonnet file itself says of an object.
	FieldLines map[string]int
	// Via is the way through template and parameters, for people.
	Via string
}

// DesiredObject is one rendered object and its origin.
type DesiredObject struct {
	*unstructured.Unstructured
	Origin Origin
}

// Desired is what an Application's path renders to at one revision.
type Desired struct {
	Objects []DesiredObject
	// Depends is what of the tree the result depends on: the import graph.
	Depends Depends
	// Hash identifies the result: equal hashes, equal objects. Empty where it is not known.
	Hash string
}

// Depends is what of a tree a render looked at. Paths are slash-separated, relative to the
// tree's root, which is ".".
type Depends struct {
	// Files that were read, or looked for in vain.
	Files []string
	// Folders whose renderable files were all taken, however deep.
	Folders []string
	// Listings are folders of which only the names of the entries were looked at.
	Listings []string
}

// On says whether a change of the file at name may change the result. Appearing and
// vanishing are changes of the file, and of the listing of every folder above it.
func (d Depends) On(name string) bool {
	if slices.Contains(d.Files, name) {
		return true
	}
	under := func(folder string) bool { return folder == "." || strings.HasPrefix(name, folder+"/") }
	return slices.ContainsFunc(d.Folders, under) || slices.ContainsFunc(d.Listings, under)
}

// TreeDigests is what a Revision's Tree may also implement: the identity of what is at a
// path, without reading it. Equal digests, equal content; a folder's covers all below it.
type TreeDigests interface {
	// Digest of the file or folder at name; false: there is none, or it may not be read.
	Digest(name string) (string, bool)
}

// ObjectName is how an object is named to people: `kind/name`, lower case, with the
// project in front where there is one: `shop-dev/deploymentconfig/frontend`.
func ObjectName(o *unstructured.Unstructured) string {
	s := strings.ToLower(o.GetKind()) + "/" + o.GetName()
	if o.GetNamespace() != "" {
		s = o.GetNamespace() + "/" + s
	}
	return s
}
