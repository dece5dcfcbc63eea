package dashboard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	projectv1 "github.com/openshift/api/project/v1"
	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

const (
	shownBuilds  = 20
	shownEvents  = 30
	shownRecords = 30
	// shownLog is how many bytes of a log's end a page holds.
	shownLog = 256 << 10
	// logTime is how long a page waits for a log.
	logTime = 5 * time.Second
)

var home = [2]string{"Overview", "/"}

func (d *Dashboard) project(ctx context.Context, c *gin.Context) (*page, error) {
	name := c.Param("project")
	var (
		p           projectv1.Project
		deployments appsv1.DeploymentConfigList
		pods        corev1.PodList
		builds      buildv1.BuildList
		streams     imagev1.ImageStreamList
		routes      routev1.RouteList
		events      corev1.EventList
	)
	if err := d.Client.Get(ctx, types.NamespacedName{Name: name}, &p); err != nil {
		return nil, err
	}
	if err := d.readAll(ctx, []client.ListOption{client.InNamespace(name)}, &deployments, &pods, &builds, &streams, &routes, &events); err != nil {
		return nil, err
	}
	now := d.Now()
	var rows []deploymentRow
	owned := map[string]bool{}
	for i := range deployments.Items {
		row := deploymentRowOf(&deployments.Items[i], pods.Items, now)
		for _, p := range row.Pods {
			owned[p.Name] = true
		}
		rows = append(rows, row)
	}
	loose := slices.DeleteFunc(slices.Clone(pods.Items), func(p corev1.Pod) bool { return owned[p.Name] })
	var others []podRow
	for i := range loose {
		others = append(others, podRowOf(&loose[i]))
	}
	var routeRows []routeRow
	for i := range routes.Items {
		routeRows = append(routeRows, routeRowOf(&routes.Items[i], d.links()))
	}
	tags, err := d.tags(ctx, streams.Items, now)
	if err != nil {
		return nil, err
	}
	return &page{Title: name, Trail: [][2]string{home}, Project: name, Sections: []section{
		{"heading", "projects", "project-heading", p},
		{"routes", "routes", "routes", routeRows},
		{"deployments", "deploymentconfigs pods", "deployments", struct {
			Rows []deploymentRow
			Pods []podRow
		}{rows, others}},
		{"builds", "builds", "builds", buildRows(builds.Items, now, shownBuilds, false)},
		{"images", "imagestreams", "images", tags},
		{"happened", "events", "happened", eventRows(events.Items, now, shownEvents)},
	}}, nil
}

// tags reads the images that tags point at, to tell their commits.
func (d *Dashboard) tags(ctx context.Context, streams []imagev1.ImageStream, now time.Time) ([]tagRow, error) {
	var failed error
	rows := tagRows(streams, func(name string) string {
		var image imagev1.Image
		if err := d.Client.Get(ctx, types.NamespacedName{Name: name}, &image); err != nil {
			if !apierrors.IsNotFound(err) {
				failed = errors.Join(failed, err)
			}
			return ""
		}
		return imageCommit(&image)
	}, now)
	return rows, failed
}

type recordRow struct {
	v1alpha1.RecordSpec
	Health       health
	Ago, Changes string
}

func (d *Dashboard) application(ctx context.Context, c *gin.Context) (*page, error) {
	var a v1alpha1.Application
	key := types.NamespacedName{Namespace: c.Param("project"), Name: c.Param("name")}
	if err := d.Client.Get(ctx, key, &a); err != nil {
		return nil, err
	}
	var records v1alpha1.RecordList
	if err := d.Client.List(ctx, &records, client.InNamespace(key.Namespace), client.MatchingFields{"spec.application": key.Name}); err != nil {
		return nil, err
	}
	api.NewestFirst(records.Items)
	now := d.Now()
	var rows []recordRow
	for _, r := range records.Items[:min(shownRecords, len(records.Items))] {
		row := recordRow{r.Spec, healthGood, ago(r.Spec.Started.Time, now), table.RecordChanges(&r.Spec)}
		if r.Spec.Outcome != "Applied" {
			row.Health = healthBad
		}
		rows = append(rows, row)
	}
	w := world{applications: v1alpha1.ApplicationList{Items: []v1alpha1.Application{a}}}
	return &page{Title: a.Name, Trail: [][2]string{home, {a.Namespace, "/projects/" + a.Namespace}}, Project: a.Namespace, Sections: []section{
		{"application", "applications records", "application", struct {
			applicationCard
			Spec v1alpha1.ApplicationSpec
		}{applicationCardOf(&a, now), a.Spec}},
		{"problems", "applications", "problems", w.problems()},
		{"apart", "applications", "apart", w.apart()},
		{"records", "records", "records", rows},
	}}, nil
}

// logView is a log as far as it is known, and where to read on.
type logView struct {
	Text, Missing, Follow string
	Cut                   bool
}

func (d *Dashboard) build(ctx context.Context, c *gin.Context) (*page, error) {
	var b buildv1.Build
	key := types.NamespacedName{Namespace: c.Param("project"), Name: c.Param("name")}
	if err := d.Client.Get(ctx, key, &b); err != nil {
		return nil, err
	}
	view := d.logView(ctx, func(ctx context.Context) (io.ReadCloser, error) { return d.buildLog(ctx, key, false) })
	if goesOn(&b) {
		view.Follow = "/apis/" + buildv1.GroupVersion.String() + "/namespaces/" + key.Namespace + "/builds/" + key.Name + "/log?follow=true"
	}
	digest := ""
	if to := b.Status.Output.To; to != nil {
		digest = to.ImageDigest
	}
	return &page{Title: b.Name, Trail: [][2]string{home, {b.Namespace, "/projects/" + b.Namespace}}, Project: b.Namespace, Sections: []section{
		{"build", "builds", "build", struct {
			buildRow
			Message, Digest, Output string
		}{buildRowOf(&b, d.Now()), b.Status.Message, digest, outputName(&b)}},
		{"log", "", "log", view},
	}}, nil
}

func outputName(b *buildv1.Build) string {
	if b.Spec.Output.To == nil {
		return ""
	}
	return b.Spec.Output.To.Name
}

func (d *Dashboard) pod(ctx context.Context, c *gin.Context) (*page, error) {
	var p corev1.Pod
	key := types.NamespacedName{Namespace: c.Param("project"), Name: c.Param("name")}
	if err := d.Client.Get(ctx, key, &p); err != nil {
		return nil, err
	}
	var events corev1.EventList
	if err := d.Client.List(ctx, &events, client.InNamespace(p.Namespace), client.MatchingFields{"involvedObject.kind": "Pod", "involvedObject.name": p.Name}); err != nil {
		return nil, err
	}
	container := c.Query("container")
	if container == "" && len(p.Spec.Containers) > 0 {
		container = p.Spec.Containers[0].Name
	}
	tail, limit := int64(2000), int64(shownLog)
	view := d.logView(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		return d.podLog(ctx, key, &corev1.PodLogOptions{Container: container, TailLines: &tail, LimitBytes: &limit})
	})
	if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil && view.Missing == "" {
		view.Follow = "/api/v1/namespaces/" + key.Namespace + "/pods/" + key.Name + "/log?follow=true&tailLines=2000&container=" + container
	}
	return &page{Title: p.Name, Trail: [][2]string{home, {p.Namespace, "/projects/" + p.Namespace}}, Project: p.Namespace, Sections: []section{
		{"pod", "pods", "pod", struct {
			podRow
			Container  string
			Containers []corev1.Container
		}{podRowOf(&p), container, p.Spec.Containers}},
		{"log", "", "log", view},
		{"happened", "events", "happened", eventRows(events.Items, d.Now(), shownEvents)},
	}}, nil
}

// logView reads the end of a log. A log that cannot be read is told in its place.
func (d *Dashboard) logView(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) logView {
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	in, err := open(ctx)
	if err != nil {
		var known apierrors.APIStatus
		if errors.As(err, &known) {
			return logView{Missing: known.Status().Message}
		}
		d.Log.Warn("log for a page", "error", err)
		return logView{Missing: "The log could not be read."}
	}
	defer in.Close()
	defer context.AfterFunc(ctx, func() { _ = in.Close() })()
	end := &tailBuffer{}
	if _, err := io.Copy(end, in); err != nil {
		d.Log.Warn("log for a page", "error", err)
	}
	return logView{Text: string(bytes.ToValidUTF8(end.kept, []byte("\uFFFD"))), Cut: end.cut}
}

// tailBuffer keeps the last shownLog bytes.
type tailBuffer struct {
	kept []byte
	cut  bool
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - shownLog; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(p), nil
}
