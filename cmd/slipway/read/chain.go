package read

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	selection "k8s.io/apimachinery/pkg/labels"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

// The labels by which the reconciler says which Application owns an object.
const (
	ownerName      = "application.slipway.dev/name"
	ownerNamespace = "application.slipway.dev/namespace"
)

// chain is what belongs to one deployment, from the address that is served to the commits
// behind it.
type chain struct {
	Project     string        `json:"project"`
	Deployment  string        `json:"deployment"`
	Version     int64         `json:"version"`
	URLs        []string      `json:"urls,omitempty"`
	Routes      []string      `json:"routes,omitempty"`
	Services    []string      `json:"services,omitempty"`
	Pods        []chainPod    `json:"pods,omitempty"`
	Images      []chainImage  `json:"images,omitempty"`
	Application string        `json:"application,omitempty"`
	Config      chainedCommit `json:"configuration"`
	Record      string        `json:"record,omitempty"`
}

type chainPod struct {
	Name string `json:"name"`
	Node string `json:"node,omitempty"`
}

type chainImage struct {
	Digest string        `json:"digest"`
	Tags   []string      `json:"tags,omitempty"`
	Build  string        `json:"build,omitempty"`
	Source chainedCommit `json:"source"`
}

// chainedCommit is a commit and where it is.
type chainedCommit struct {
	Repository string `json:"repository,omitempty"`
	Commit     string `json:"commit,omitempty"`
	Author     string `json:"author,omitempty"`
	Message    string `json:"message,omitempty"`
}

// String reads `commit of repository by author: message`.
func (c chainedCommit) String() string {
	if c.Commit == "" {
		return ""
	}
	s := short(c.Commit)
	if c.Repository != "" {
		s += " of " + c.Repository
	}
	if author, _, _ := strings.Cut(c.Author, " <"); author != "" {
		s += " by " + author
	}
	if subject, _, _ := strings.Cut(c.Message, "\n"); subject != "" {
		s += ": " + subject
	}
	return s
}

func short(commit string) string { return table.Short(commit) }

func (c chain) podLines() []string {
	var out []string
	for _, p := range c.Pods {
		line := p.Name
		if p.Node != "" {
			line += " on " + p.Node
		}
		out = append(out, line)
	}
	return out
}

// chains are those of every deployment.
func (w *traced) chains() []chain {
	var out []chain
	for i := range w.deployments.Items {
		out = append(out, w.chain(&w.deployments.Items[i]))
	}
	return out
}

func (w *traced) chain(dc *appsv1.DeploymentConfig) chain {
	c := chain{Project: dc.Namespace, Deployment: dc.Name, Version: dc.Status.LatestVersion}
	var digests []string
	for i := range w.pods.Items {
		p := &w.pods.Items[i]
		if p.Namespace != dc.Namespace || p.Labels["deploymentconfig"] != dc.Name {
			continue
		}
		c.Pods = append(c.Pods, chainPod{p.Name, p.Spec.NodeName})
		digests = append(digests, digestsOf(&p.Spec)...)
	}
	if dc.Spec.Template != nil {
		digests = append(digests, digestsOf(&dc.Spec.Template.Spec)...)
		w.addServices(&c, selection.Set(dc.Spec.Template.Labels))
	}
	slices.Sort(digests)
	for _, d := range slices.Compact(digests) {
		c.Images = append(c.Images, w.image(d))
	}
	w.addApplication(&c, dc.Labels)
	return c
}

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

func digestsOf(spec *corev1.PodSpec) []string {
	var out []string
	for _, ctr := range slices.Concat(spec.InitContainers, spec.Containers) {
		if d := digestPattern.FindString(ctr.Image); d != "" {
			out = append(out, d)
		}
	}
	return out
}

func (w *traced) addServices(c *chain, pods selection.Set) {
	for i := range w.services.Items {
		s := &w.services.Items[i]
		if s.Namespace != c.Project || len(s.Spec.Selector) == 0 || !selection.SelectorFromSet(s.Spec.Selector).Matches(pods) {
			continue
		}
		c.Services = append(c.Services, s.Name)
		for j := range w.routes.Items {
			if r := &w.routes.Items[j]; r.Namespace == c.Project && leadsTo(r, s.Name) {
				c.Routes, c.URLs = append(c.Routes, r.Name), append(c.URLs, address(r))
			}
		}
	}
}

func leadsTo(r *routev1.Route, service string) bool {
	return r.Spec.To.Name == service || slices.ContainsFunc(r.Spec.AlternateBackends, func(b routev1.RouteTargetReference) bool { return b.Name == service })
}

func address(r *routev1.Route) string {
	scheme := "http"
	if r.Spec.TLS != nil {
		scheme = "https"
	}
	host := r.Spec.Host
	for _, in := range r.Status.Ingress {
		host = cmp.Or(host, in.Host)
	}
	return scheme + "://" + host + r.Spec.Path
}

// image finds where an image comes from, by its digest: the tags that point at it now, the
// build that pushed it, and its commit, which the image itself remembers when the build is gone.
func (w *traced) image(digest string) chainImage {
	out := chainImage{Digest: digest}
	for _, s := range w.streams.Items {
		for _, t := range s.Status.Tags {
			if len(t.Items) > 0 && t.Items[0].Image == digest {
				out.Tags = append(out.Tags, s.Namespace+"/"+s.Name+":"+t.Tag)
			}
		}
	}
	for i := range w.builds.Items {
		b := &w.builds.Items[i]
		if b.Status.Output.To == nil || b.Status.Output.To.ImageDigest != digest {
			continue
		}
		out.Build = b.Namespace + "/" + b.Name
		if g := b.Spec.Source.Git; g != nil {
			out.Source.Repository = g.URI
		}
		if r := b.Spec.Revision; r != nil && r.Git != nil {
			out.Source.Commit, out.Source.Author, out.Source.Message = r.Git.Commit, r.Git.Author.Name, r.Git.Message
		}
	}
	for i := range w.images.Items {
		if image := &w.images.Items[i]; image.Name == digest && out.Source.Commit == "" {
			out.Source.Commit = commitLabel.FindString(string(image.DockerImageMetadata.Raw))
			_, out.Source.Commit, _ = strings.Cut(strings.TrimSuffix(out.Source.Commit, `"`), `:"`)
		}
	}
	return out
}

var commitLabel = regexp.MustCompile(`"io\.openshift\.build\.commit\.id":"[0-9a-f]+"`)

func (w *traced) addApplication(c *chain, owner map[string]string) {
	for i := range w.applications.Items {
		a := &w.applications.Items[i]
		if owner[ownerName] != "" && (a.Name != owner[ownerName] || a.Namespace != owner[ownerNamespace]) || owner[ownerName] == "" && a.Spec.Project != c.Project {
			continue
		}
		c.Application = a.Namespace + "/" + a.Name
		c.Config = chainedCommit{Repository: w.url(a), Commit: a.Status.LastAppliedCommit, Author: a.Status.LastAppliedAuthor, Message: a.Status.LastAppliedMessage}
		api.NewestFirst(w.records.Items)
		if i := slices.IndexFunc(w.records.Items, func(r v1alpha1.Record) bool {
			return r.Namespace == a.Namespace && r.Spec.Application == a.Name && r.Spec.Commit == a.Status.LastAppliedCommit
		}); i >= 0 {
			c.Record = w.records.Items[i].Name
		}
		return
	}
}

func (w *traced) url(a *v1alpha1.Application) string {
	for _, r := range w.repositories.Items {
		if r.Name == a.Spec.SourceRef.Name && r.Namespace == cmp.Or(a.Spec.SourceRef.Namespace, a.Namespace) {
			return r.Spec.URL
		}
	}
	return ""
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

func isCommit(s string) bool { return commitPattern.MatchString(s) }

// matching are the chains that something belongs to.
func matching(all []chain, what string) []chain {
	host, way, isURL := hostOf(what)
	_, name, slash := strings.Cut(what, "/")
	var out []chain
	for _, c := range all {
		switch {
		case isURL && c.serves(host, way):
		case c.named(what), slash && c.Project+"/"+name == what && c.named(name), c.Application == what:
		case isCommit(what) && (strings.HasPrefix(c.Config.Commit, what) || c.hasImage(func(i chainImage) bool { return strings.HasPrefix(i.Source.Commit, what) })):
		case c.hasImage(func(i chainImage) bool { return i.is(what) }):
		default:
			continue
		}
		out = append(out, c)
	}
	return out
}

func hostOf(what string) (host, way string, ok bool) {
	if !strings.Contains(what, "://") {
		if !strings.Contains(what, ".") || strings.Contains(what, "@") {
			return "", "", false
		}
		what = "http://" + what
	}
	u, err := url.Parse(what)
	if err != nil {
		return "", "", false
	}
	return u.Hostname(), cmp.Or(u.Path, "/"), true
}

func (c chain) serves(host, way string) bool {
	return slices.ContainsFunc(c.URLs, func(one string) bool {
		u, err := url.Parse(one)
		return err == nil && u.Hostname() == host && strings.HasPrefix(way, cmp.Or(u.Path, "/"))
	})
}

// named says whether one of the chain's objects has a name.
func (c chain) named(name string) bool {
	_, application, _ := strings.Cut(c.Application, "/")
	return name == c.Deployment || name == application || name == c.Record && name != "" || slices.Contains(c.Routes, name) || slices.Contains(c.Services, name) ||
		slices.ContainsFunc(c.Pods, func(p chainPod) bool { return p.Name == name })
}

func (c chain) hasImage(is func(chainImage) bool) bool { return slices.ContainsFunc(c.Images, is) }

// is says whether an image is meant: by its digest or the beginning of it, by a tag, or by the
// name of its build.
func (i chainImage) is(what string) bool {
	if d := digestPattern.FindString(what); d != "" {
		return d == i.Digest
	}
	if rest, ok := strings.CutPrefix(what, "sha256:"); ok {
		return len(rest) >= 7 && strings.HasPrefix(i.Digest, what)
	}
	_, build, _ := strings.Cut(i.Build, "/")
	return what == i.Build && what != "" || what == build && build != "" || slices.ContainsFunc(i.Tags, func(t string) bool {
		_, tag, _ := strings.Cut(t, "/")
		return what == t || what == tag
	})
}
