package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	projectv1 "github.com/openshift/api/project/v1"
	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

// health is how something is, worst last; it is also the class that styles it.
type health string

const (
	healthIdle health = "idle"
	healthGood health = "good"
	healthBusy health = "busy"
	healthBad  health = "bad"
)

func worse(a, b health) health {
	order := []health{"", healthIdle, healthGood, healthBusy, healthBad}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// world is everything that the overview is made from.
type world struct {
	projects     projectv1.ProjectList
	applications v1alpha1.ApplicationList
	deployments  appsv1.DeploymentConfigList
	pods         corev1.PodList
	builds       buildv1.BuildList
	routes       routev1.RouteList
	nodes        corev1.NodeList
}

// readAll reads lists, of one project where options say so.
func (d *Dashboard) readAll(ctx context.Context, options []client.ListOption, lists ...client.ObjectList) error {
	for _, l := range lists {
		if err := d.Client.List(ctx, l, options...); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dashboard) overview(ctx context.Context, _ *gin.Context) (*page, error) {
	var w world
	if err := d.readAll(ctx, nil, &w.projects, &w.applications, &w.deployments, &w.pods, &w.builds, &w.routes, &w.nodes); err != nil {
		return nil, err
	}
	now := d.Now()
	applications, projects := w.applicationCards(now), w.projectCards(now, d.links())
	return &page{Title: "Overview", Sections: []section{
		{"summary", "applications deploymentconfigs pods builds projects nodes", "summary", w.summary(projects)},
		{"problems", "applications pods builds", "problems", w.problems()},
		{"apart", "applications", "apart", w.apart()},
		{"applications", "applications", "applications", applications},
		{"projects", "projects deploymentconfigs pods builds routes", "projects", projects},
		{"builds", "builds", "builds", buildRows(w.builds.Items, now, 8, true)},
	}}, nil
}

type summary struct {
	Health                                            health
	Text                                              string
	Projects, Deployments, Ready, Pods, Builds, Nodes int
}

func (w *world) summary(projects []projectCard) summary {
	s := summary{Projects: len(w.projects.Items), Deployments: len(w.deployments.Items), Nodes: len(w.nodes.Items)}
	for i := range w.deployments.Items {
		if deploymentHealth(&w.deployments.Items[i], nil) != healthBusy {
			s.Ready++
		}
	}
	for i := range w.pods.Items {
		if w.pods.Items[i].Status.Phase == corev1.PodRunning {
			s.Pods++
		}
	}
	for i := range w.builds.Items {
		if goesOn(&w.builds.Items[i]) {
			s.Builds++
		}
	}
	for _, p := range projects {
		s.Health = worse(s.Health, p.Health)
	}
	for i := range w.applications.Items {
		s.Health = worse(s.Health, applicationHealth(&w.applications.Items[i]))
	}
	s.Text = map[health]string{healthBad: "Something needs a look", healthBusy: "On the way", healthGood: "All is well"}[s.Health]
	s.Text = cmp.Or(s.Text, "Nothing runs yet")
	return s
}

func applicationHealth(a *v1alpha1.Application) health {
	ready, _ := table.Ready(a.Status.Conditions)
	switch {
	case a.Spec.Suspend:
		return healthIdle
	case ready == "True":
		return healthGood
	case ready == "False":
		return healthBad
	}
	return healthBusy
}

type applicationCard struct {
	Namespace, Name, Message string
	Health                   health
	Ready                    string
	Commit, Attempted        string
	Applied                  time.Time
	Ago                      string
	Author, Subject          string
	Problems                 int
}

func (w *world) applicationCards(now time.Time) []applicationCard {
	var cards []applicationCard
	for i := range w.applications.Items {
		cards = append(cards, applicationCardOf(&w.applications.Items[i], now))
	}
	return cards
}

func applicationCardOf(a *v1alpha1.Application, now time.Time) applicationCard {
	ready, message := table.Ready(a.Status.Conditions)
	words := map[string]string{"True": "Applied", "False": "Failed"}
	c := applicationCard{
		Namespace: a.Namespace, Name: a.Name, Health: applicationHealth(a), Message: message, Ready: cmp.Or(words[ready], "Working"),
		Commit: a.Status.LastAppliedCommit, Author: a.Status.LastAppliedAuthor, Subject: a.Status.LastAppliedMessage, Problems: len(a.Status.Problems),
	}
	if a.Spec.Suspend {
		c.Ready = "Suspended"
	}
	if a.Status.LastAttemptedCommit != c.Commit {
		c.Attempted = a.Status.LastAttemptedCommit
	}
	if t := a.Status.LastAppliedTime; t != nil {
		c.Applied, c.Ago = t.Time, ago(t.Time, now)
	}
	return c
}

type projectCard struct {
	Name, Display string
	Health        health
	Deployments   []deploymentRow
	Builds        int
	Routes        []routeRow
}

func (w *world) projectCards(now time.Time, links links) []projectCard {
	var cards []projectCard
	for _, p := range w.projects.Items {
		c := projectCard{Name: p.Name, Display: p.Annotations["openshift.io/display-name"], Health: healthIdle}
		in := func(namespace string) bool { return namespace == p.Name }
		for i := range w.deployments.Items {
			if dc := &w.deployments.Items[i]; in(dc.Namespace) {
				row := deploymentRowOf(dc, w.pods.Items, now)
				c.Deployments, c.Health = append(c.Deployments, row), worse(c.Health, row.Health)
			}
		}
		for i := range w.builds.Items {
			if b := &w.builds.Items[i]; in(b.Namespace) && goesOn(b) {
				c.Builds++
			}
		}
		for i := range w.routes.Items {
			if r := &w.routes.Items[i]; in(r.Namespace) {
				c.Routes = append(c.Routes, routeRowOf(r, links))
			}
		}
		cards = append(cards, c)
	}
	return cards
}

// problem is something that needs a person.
type problem struct {
	Where, Link, Place, Text string
}

func (w *world) problems() []problem {
	var all []problem
	for i := range w.applications.Items {
		a := &w.applications.Items[i]
		link := "/applications/" + a.Namespace + "/" + a.Name
		for _, p := range a.Status.Problems {
			all = append(all, problem{a.Name + " at " + table.Short(a.Status.LastAttemptedCommit), link, place(p), problemText(p)})
		}
		if ready, message := table.Ready(a.Status.Conditions); ready == "False" && len(a.Status.Problems) == 0 {
			all = append(all, problem{Where: a.Name, Link: link, Text: message})
		}
	}
	for i := range w.pods.Items {
		p := &w.pods.Items[i]
		if trouble := table.PodTrouble(p); trouble != "" {
			all = append(all, problem{Where: p.Namespace, Link: "/pods/" + p.Namespace + "/" + p.Name, Text: "Pod " + p.Name + ": " + trouble})
		}
	}
	for _, b := range newestBuilds(w.builds.Items) {
		if buildHealth(b) == healthBad {
			all = append(all, problem{Where: b.Namespace, Link: "/builds/" + b.Namespace + "/" + b.Name, Text: fmt.Sprintf("Build %s: %s", b.Name, cmp.Or(b.Status.Message, string(b.Status.Phase)))})
		}
	}
	return all
}

// apart is where live state is not what git says, on purpose or until somebody decides.
// Place is what kind of difference it is.
func (w *world) apart() []problem {
	var all []problem
	for i := range w.applications.Items {
		a := &w.applications.Items[i]
		say := func(kind string, texts ...string) {
			for _, text := range texts {
				all = append(all, problem{a.Name, "/applications/" + a.Namespace + "/" + a.Name, kind, text})
			}
		}
		say("override", a.Status.Overrides...)
		if plan := a.Status.Waiting; plan != nil {
			say("waits", plan.Message)
		}
		say("drift", a.Status.Drift...)
		say("orphan", a.Status.Orphans...)
	}
	return all
}

func place(p api.Problem) string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return p.File
}

// problemText is a problem without its place.
func problemText(p api.Problem) string {
	p.File, p.Line = "", 0
	return strings.TrimSpace(api.ProblemString(p))
}
