package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/render"
)

// application is what the server would make an Application of, out of a repository alone.
type application struct {
	Name    string
	Path    string
	Project string
	Spec    v1alpha1.ApplicationSpec
	// projects are the folders that it makes Applications of.
	projects []string
	// rendered is what it renders to, and what that depends on.
	rendered api.Desired
	problems api.Problems
}

// maxApplications bounds how many a repository may declare.
const maxApplications = 10_000

// applications renders a tree as the server would: the root, the Applications that it
// declares of the same repository, and those that these declare; each once, in order.
func applications(ctx context.Context, r *render.Renderer, tree fs.FS, root workingCopy) ([]*application, error) {
	d := discovery{renderer: r, tree: tree, seen: map[string]bool{}}
	first := &application{Name: server.Root, Path: root.path, Project: root.project}
	first.Spec.Parameters = root.values
	if err := d.add(ctx, first); err != nil {
		return nil, err
	}
	return d.found, nil
}

type discovery struct {
	renderer *render.Renderer
	tree     fs.FS
	seen     map[string]bool
	found    []*application
}

func (d *discovery) add(ctx context.Context, app *application) error {
	if d.seen[app.Name] || len(d.found) == maxApplications {
		return nil
	}
	d.seen[app.Name] = true
	d.found = append(d.found, app)
	dir := cmp.Or(app.Path, ".")
	folders := []reconciler.Folder{{Path: dir}}
	if app.Project == "" {
		folders = reconciler.Folders(d.tree, dir)
	}
	for _, f := range folders {
		if f.Project != "" {
			app.projects = append(app.projects, f.Project)
			continue
		}
		if err := d.render(ctx, app, f.Path); err != nil {
			return err
		}
	}
	for _, child := range d.declared(app) {
		if err := d.add(ctx, child); err != nil {
			return err
		}
	}
	for _, f := range folders {
		if f.Project == "" {
			continue
		}
		child := &application{Name: f.Project, Path: f.Path, Project: f.Project}
		child.Spec.Parameters = app.Spec.Parameters
		if err := d.add(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

func (d *discovery) render(ctx context.Context, app *application, folder string) error {
	want, err := d.renderer.Render(ctx, render.Request{
		Tree: d.tree, Path: folder, Project: app.Project, Parameters: app.Spec.Parameters, Application: server.System + "/" + app.Name,
	})
	var problems api.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	app.problems = problems
	app.rendered = want
	return nil
}

// declared are the Applications among an application's objects that follow the same
// repository.
func (d *discovery) declared(app *application) []*application {
	var out []*application
	for _, o := range app.rendered.Objects {
		if o.GetKind() != "Application" {
			continue
		}
		var a v1alpha1.Application
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &a) != nil {
			continue
		}
		if s := a.Spec.SourceRef; s.Name != "" && s.Name != cmp.Or(app.Spec.SourceRef.Name, server.Root) {
			continue
		}
		out = append(out, &application{Name: a.Name, Path: a.Spec.Path, Project: a.Spec.Project, Spec: a.Spec})
	}
	return out
}
