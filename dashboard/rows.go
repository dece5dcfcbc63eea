package dashboard

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"slipway.dev/slipway/dashboard/table"
)

// deploymentConfigLabel is the label that OpenShift's deployments give their pods.
const deploymentConfigLabel = "deploymentconfig"

func ago(t, now time.Time) string { return duration.HumanDuration(now.Sub(t)) + " ago" }

type podRow struct {
	Namespace, Name, Status, IP, Node string
	Health                            health
	Restarts                          int
}

func podHealth(p *corev1.Pod) health {
	word := table.PodStatus(p)
	switch {
	case p.Status.Phase == corev1.PodFailed, strings.HasSuffix(word, "BackOff"), strings.HasSuffix(word, "Error"):
		return healthBad
	case p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded:
		return healthIdle
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return healthGood
		}
	}
	return healthBusy
}

func podRowOf(p *corev1.Pod) podRow {
	r := podRow{Namespace: p.Namespace, Name: p.Name, Status: table.PodStatus(p), IP: p.Status.PodIP, Node: p.Spec.NodeName, Health: podHealth(p)}
	for _, s := range p.Status.ContainerStatuses {
		r.Restarts += int(s.RestartCount)
	}
	return r
}

type deploymentRow struct {
	Name              string
	Health            health
	Ready, Desired    int32
	Revision          int64
	Message, Strategy string
	Images            []string
	Pods              []podRow
}

// deploymentHealth is as bad as its worst pod, and busy while pods are missing.
func deploymentHealth(d *appsv1.DeploymentConfig, pods []podRow) health {
	h := healthGood
	if d.Spec.Replicas == 0 {
		h = healthIdle
	}
	if d.Status.ReadyReplicas < d.Spec.Replicas || d.Status.UpdatedReplicas < d.Spec.Replicas {
		h = healthBusy
	}
	for _, p := range pods {
		if p.Health == healthBad {
			h = healthBad
		}
	}
	return h
}

func deploymentRowOf(d *appsv1.DeploymentConfig, pods []corev1.Pod, _ time.Time) deploymentRow {
	r := deploymentRow{
		Name: d.Name, Ready: d.Status.ReadyReplicas, Desired: d.Spec.Replicas, Revision: d.Status.LatestVersion, Strategy: string(d.Spec.Strategy.Type),
	}
	for i := range pods {
		if p := &pods[i]; p.Namespace == d.Namespace && p.Labels[deploymentConfigLabel] == d.Name {
			r.Pods = append(r.Pods, podRowOf(p))
		}
	}
	if d.Spec.Template != nil {
		for _, c := range d.Spec.Template.Spec.Containers {
			r.Images = append(r.Images, c.Image)
		}
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Message != "" {
			r.Message = c.Message
		}
	}
	r.Health = deploymentHealth(d, r.Pods)
	return r
}

type buildRow struct {
	Namespace, Name, Phase, Strategy string
	Health                           health
	Commit, Subject, Author          string
	Started                          time.Time
	Ago, Took                        string
	// InProject says whether to name the project.
	InProject bool
}

func goesOn(b *buildv1.Build) bool {
	switch b.Status.Phase {
	case buildv1.BuildPhaseNew, buildv1.BuildPhasePending, buildv1.BuildPhaseRunning:
		return true
	}
	return b.Status.Phase == ""
}

func buildHealth(b *buildv1.Build) health {
	switch b.Status.Phase {
	case buildv1.BuildPhaseComplete:
		return healthGood
	case buildv1.BuildPhaseFailed, buildv1.BuildPhaseError:
		return healthBad
	case buildv1.BuildPhaseCancelled:
		return healthIdle
	}
	return healthBusy
}

func buildRowOf(b *buildv1.Build, now time.Time) buildRow {
	r := buildRow{
		Namespace: b.Namespace, Name: b.Name, Phase: cmp.Or(string(b.Status.Phase), "New"), Strategy: string(b.Spec.Strategy.Type), Health: buildHealth(b),
		Commit: table.BuildCommit(b), Took: table.BuildTook(b, now),
	}
	if rev := b.Spec.Revision; rev != nil && rev.Git != nil {
		r.Subject, r.Author = rev.Git.Message, rev.Git.Author.Name
	}
	if t := b.Status.StartTimestamp; t != nil {
		r.Started, r.Ago = t.Time, ago(t.Time, now)
	}
	return r
}

// buildRows are the newest builds, at most n.
func buildRows(builds []buildv1.Build, now time.Time, n int, named bool) []buildRow {
	sorted := slices.Clone(builds)
	slices.SortStableFunc(sorted, func(a, b buildv1.Build) int { return begun(&b).Compare(begun(&a)) })
	var rows []buildRow
	for i := range sorted[:min(n, len(sorted))] {
		row := buildRowOf(&sorted[i], now)
		row.InProject = named
		rows = append(rows, row)
	}
	return rows
}

func begun(b *buildv1.Build) time.Time {
	if b.Status.StartTimestamp != nil {
		return b.Status.StartTimestamp.Time
	}
	return b.CreationTimestamp.Time
}

// newestBuilds keeps the last build of each BuildConfig: an older failure is history.
func newestBuilds(builds []buildv1.Build) []*buildv1.Build {
	newest := map[string]*buildv1.Build{}
	for i := range builds {
		b := &builds[i]
		key := b.Namespace + "/" + b.Annotations[buildv1.BuildConfigAnnotation]
		if have := newest[key]; have == nil || buildNumber(have) < buildNumber(b) {
			newest[key] = b
		}
	}
	var out []*buildv1.Build
	for _, b := range newest {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b *buildv1.Build) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func buildNumber(b *buildv1.Build) int {
	n, err := strconv.Atoi(b.Annotations[buildv1.BuildNumberAnnotation])
	if err != nil {
		return 0
	}
	return n
}

type routeRow struct {
	Name, Host, Path, Service, URL, TLS, Why string
	Health                                   health
}

// links is where routers answer.
type links struct{ plain, tls *url.URL }

func (d *Dashboard) links() links {
	read := func(text, scheme string) *url.URL {
		u, err := url.Parse(text)
		if err != nil || text == "" {
			u = &url.URL{Scheme: scheme}
		}
		return u
	}
	return links{read(d.RouterURL, "http"), read(d.RouterTLSURL, "https")}
}

func routeRowOf(r *routev1.Route, l links) routeRow {
	row := routeRow{Name: r.Name, Host: r.Spec.Host, Path: r.Spec.Path, Service: r.Spec.To.Name, Health: healthBusy}
	base := l.plain
	if r.Spec.TLS != nil {
		row.TLS, base = string(r.Spec.TLS.Termination), l.tls
	}
	for _, in := range r.Status.Ingress {
		for _, c := range in.Conditions {
			switch {
			case c.Type != routev1.RouteAdmitted:
			case c.Status == corev1.ConditionTrue:
				row.Health, row.Host = healthGood, in.Host
			default:
				row.Health, row.Why = healthBad, cmp.Or(c.Message, c.Reason)
			}
		}
	}
	if row.Health == healthGood && r.Spec.WildcardPolicy != routev1.WildcardPolicySubdomain {
		u := url.URL{Scheme: base.Scheme, Host: row.Host, Path: row.Path}
		if port := base.Port(); port != "" {
			u.Host += ":" + port
		}
		row.URL = u.String()
	}
	return row
}

type tagRow struct {
	Stream, Tag, Digest, Commit, From string
	Created                           time.Time
	Ago                               string
	History                           int
}

// tagRows are the tags of streams; commit tells what an image was built from.
func tagRows(streams []imagev1.ImageStream, commit func(image string) string, now time.Time) []tagRow {
	var rows []tagRow
	for _, s := range streams {
		for _, t := range s.Status.Tags {
			if len(t.Items) == 0 {
				continue
			}
			at := t.Items[0]
			from, _, _ := strings.Cut(at.DockerImageReference, "@")
			if from == s.Status.DockerImageRepository {
				from = ""
			} else if _, rest, found := strings.Cut(from, "/"); found {
				from = rest
			}
			rows = append(rows, tagRow{
				Stream: s.Name, Tag: t.Tag, Digest: at.Image, Commit: commit(at.Image), From: from,
				Created: at.Created.Time, Ago: ago(at.Created.Time, now), History: len(t.Items) - 1,
			})
		}
	}
	return rows
}

// imageCommit is the label that builds leave on their images.
func imageCommit(i *imagev1.Image) string {
	var config struct {
		Config struct {
			Labels map[string]string `json:"Labels"`
		} `json:"Config"`
	}
	if json.Unmarshal(i.DockerImageMetadata.Raw, &config) != nil {
		return ""
	}
	return config.Config.Labels["io.openshift.build.commit.id"]
}

type eventRow struct {
	Warning              bool
	Reason, Object, Text string
	Last                 time.Time
	Ago                  string
	Count                int32
}

// eventRows are the newest events, at most n.
func eventRows(events []corev1.Event, now time.Time, n int) []eventRow {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b corev1.Event) int { return happened(&b).Compare(happened(&a)) })
	var rows []eventRow
	for i := range sorted[:min(n, len(sorted))] {
		e := &sorted[i]
		rows = append(rows, eventRow{
			Warning: e.Type == corev1.EventTypeWarning, Reason: e.Reason, Text: e.Message, Count: e.Count,
			Object: strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name, Last: happened(e), Ago: ago(happened(e), now),
		})
	}
	return rows
}

func happened(e *corev1.Event) time.Time {
	switch {
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}
