package table

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	routev1 "github.com/openshift/api/route/v1"
	templatev1 "github.com/openshift/api/template/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func buildConfigCells(b *buildv1.BuildConfig, _ time.Time) []any {
	return []any{b.Name, strategy(b.Spec.Strategy), source(b.Spec.Source, nil), b.Status.LastVersion}
}

func buildCells(b *buildv1.Build, now time.Time) []any {
	status := string(b.Status.Phase)
	if b.Status.Reason != "" && b.Status.Phase != buildv1.BuildPhaseComplete {
		status += " (" + string(b.Status.Reason) + ")"
	}
	digest := ""
	if to := b.Status.Output.To; to != nil {
		digest = to.ImageDigest
	}
	return []any{
		b.Name, strategy(b.Spec.Strategy), source(b.Spec.Source, b.Spec.Revision), status, since(b.Status.StartTimestamp, now), BuildTook(b, now),
		BuildCommit(b), digest,
	}
}

// BuildTook is how long a build ran, or has been running, to the second; "" before it starts.
func BuildTook(b *buildv1.Build, now time.Time) string {
	if b.Status.StartTimestamp == nil {
		return ""
	}
	end := now
	switch {
	case b.Status.CompletionTimestamp != nil:
		end = b.Status.CompletionTimestamp.Time
	case b.Status.Duration > 0:
		end = b.Status.StartTimestamp.Add(b.Status.Duration)
	}
	return end.Sub(b.Status.StartTimestamp.Time).Round(time.Second).String()
}

// BuildCommit is the source's commit, whole; "" if it is not known yet.
func BuildCommit(b *buildv1.Build) string {
	if r := b.Spec.Revision; r != nil && r.Git != nil {
		return r.Git.Commit
	}
	return ""
}

func strategy(s buildv1.BuildStrategy) string {
	if s.Type != "" {
		return string(s.Type)
	}
	switch {
	case s.DockerStrategy != nil:
		return "Docker"
	case s.SourceStrategy != nil:
		return "Source"
	case s.CustomStrategy != nil:
		return "Custom"
	}
	return ""
}

func source(s buildv1.BuildSource, r *buildv1.SourceRevision) string {
	var parts []string
	if s.Dockerfile != nil {
		parts = append(parts, "Dockerfile")
	}
	if s.Git != nil {
		text := "Git"
		switch {
		case r != nil && r.Git != nil && r.Git.Commit != "":
			text += "@" + Short(r.Git.Commit)
		case s.Git.Ref != "":
			text += "@" + s.Git.Ref
		}
		parts = append(parts, text)
	}
	if s.Binary != nil {
		parts = append(parts, "Binary")
	}
	if len(s.Images) > 0 {
		parts = append(parts, "Images")
	}
	return strings.Join(parts, ",")
}

// Short is a commit as people write it: its first seven digits.
func Short(commit string) string { return commit[:min(len(commit), 7)] }

func imageStreamCells(s *imagev1.ImageStream, now time.Time) []any {
	const most = 3
	var latest metav1.Time
	tags := make([]string, 0, len(s.Status.Tags))
	for _, t := range s.Status.Tags {
		tags = append(tags, t.Tag)
		if len(t.Items) > 0 && latest.Before(&t.Items[0].Created) {
			latest = t.Items[0].Created
		}
	}
	for _, t := range s.Spec.Tags {
		if !slices.Contains(tags, t.Name) {
			tags = append(tags, t.Name)
		}
	}
	text := strings.Join(tags, ",")
	if len(tags) > most {
		text = fmt.Sprintf("%s + %d more...", strings.Join(tags[:most], ","), len(tags)-most)
	}
	return []any{s.Name, cmp.Or(s.Status.PublicDockerImageRepository, s.Status.DockerImageRepository), text, since(&latest, now)}
}

func imageCells(i *imagev1.Image, now time.Time) []any {
	return []any{i.Name, i.DockerImageReference, age(i.CreationTimestamp, now)}
}

func routeCells(r *routev1.Route, _ time.Time) []any {
	services := []string{r.Spec.To.Name}
	if len(r.Spec.AlternateBackends) > 0 {
		weigh := func(b routev1.RouteTargetReference) string {
			if b.Weight == nil {
				return b.Name
			}
			return fmt.Sprintf("%s(%d)", b.Name, *b.Weight)
		}
		services[0] = weigh(r.Spec.To)
		for _, b := range r.Spec.AlternateBackends {
			services = append(services, weigh(b))
		}
	}
	port, termination := "<all>", ""
	if r.Spec.Port != nil {
		port = r.Spec.Port.TargetPort.String()
	}
	if t := r.Spec.TLS; t != nil {
		termination = string(t.Termination)
		if t.InsecureEdgeTerminationPolicy != "" {
			termination += "/" + string(t.InsecureEdgeTerminationPolicy)
		}
	}
	return []any{r.Name, RouteHost(r), r.Spec.Path, strings.Join(services, ","), port, termination, cmp.Or(string(r.Spec.WildcardPolicy), "None")}
}

// RouteHost is the host that a router admitted, or why it did not, or the host asked for.
func RouteHost(r *routev1.Route) string {
	why := ""
	for _, in := range r.Status.Ingress {
		for _, c := range in.Conditions {
			if c.Type != routev1.RouteAdmitted {
				continue
			}
			if c.Status == corev1.ConditionTrue {
				return in.Host
			}
			if c.Status == corev1.ConditionFalse {
				why = cmp.Or(c.Reason, "Rejected")
			}
		}
	}
	return cmp.Or(why, r.Spec.Host)
}

func templateCells(t *templatev1.Template, _ time.Time) []any {
	const most = 80
	empty, generated := 0, 0
	for _, p := range t.Parameters {
		switch {
		case p.Generate != "":
			generated++
		case p.Value == "":
			empty++
		}
	}
	text := fmt.Sprintf("%d (all set)", len(t.Parameters))
	switch {
	case empty > 0:
		text = fmt.Sprintf("%d (%d blank)", len(t.Parameters), empty)
	case generated > 0:
		text = fmt.Sprintf("%d (%d generated)", len(t.Parameters), generated)
	}
	description := []rune(firstLine(t.Annotations["description"]))
	if len(description) > most {
		description = append(description[:most-3], []rune("...")...)
	}
	return []any{t.Name, string(description), text, len(t.Objects)}
}

func templateInstanceCells(t *templatev1.TemplateInstance, now time.Time) []any {
	ready := "Unknown"
	for _, c := range t.Status.Conditions {
		if c.Type == templatev1.TemplateInstanceReady {
			ready = string(c.Status)
		}
	}
	return []any{t.Name, t.Spec.Template.Name, ready, age(t.CreationTimestamp, now)}
}
