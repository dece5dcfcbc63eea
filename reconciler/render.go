package reconciler

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Sources hands out revisions of the GitRepositories.
type Sources interface {
	// Revision is the last good revision of a repository.
	Revision(ctx context.Context, repository types.NamespacedName) (api.Revision, error)
	// RevisionAt is the revision that a branch, tag or commit names.
	RevisionAt(ctx context.Context, repository types.NamespacedName, ref string) (api.Revision, error)
}

// Rendering is what is to be rendered.
type Rendering struct {
	Tree       fs.FS
	Path       string
	Project    string
	Parameters map[string]string
	// Application is the owner of generated parameters, `namespace/name`.
	Application string
	// Persist keeps newly generated parameters; a preview does not.
	Persist bool
	// Conceal gives out stand-ins for generated and encrypted values.
	Conceal bool
}

// Renderer turns a tree into objects. Mistakes in the tree come back as api.Problems.
type Renderer interface {
	Render(ctx context.Context, r Rendering) (api.Desired, error)
}

// source is the repository that an Application follows.
func source(app *v1alpha1.Application) types.NamespacedName {
	ns := app.Spec.SourceRef.Namespace
	if ns == "" {
		ns = app.Namespace
	}
	return types.NamespacedName{Namespace: ns, Name: app.Spec.SourceRef.Name}
}

// desired renders an Application at a revision. Where its path is laid out as a
// configuration repository, cluster/ is rendered and each project becomes an
// Application of its own.
func desired(ctx context.Context, r Renderer, app *v1alpha1.Application, rev api.Revision, persist bool) (api.Desired, error) {
	rendering := Rendering{
		Tree: rev.Tree, Path: app.Spec.Path, Project: app.Spec.Project, Parameters: app.Spec.Parameters,
		Application: app.Namespace + "/" + app.Name, Persist: persist,
	}
	l, isRoot := layoutOf(rev.Tree, rootDir(app))
	if !isRoot || app.Spec.Project != "" {
		return r.Render(ctx, rendering)
	}
	out := api.Desired{Hash: "none"}
	if l.cluster != "" {
		rendering.Path = l.cluster
		var err error
		if out, err = r.Render(ctx, rendering); err != nil {
			out.Depends = l.depends(rootDir(app), out.Depends)
			return out, err
		}
	}
	// What a renderer returns is shared and not to be changed.
	out.Objects, out.Hash = slices.Clone(out.Objects), l.hash(app, out.Hash)
	out.Depends = l.depends(rootDir(app), out.Depends)
	for i := range out.Objects {
		inheritSource(&out.Objects[i], app)
	}
	made, err := projectObjects(app, l, out.Objects)
	out.Objects = append(out.Objects, made...)
	return out, err
}

func rootDir(app *v1alpha1.Application) string {
	if app.Spec.Path == "" {
		return "."
	}
	return app.Spec.Path
}

// inheritSource gives a declared Application that names no source its parent's.
func inheritSource(o *api.DesiredObject, parent *v1alpha1.Application) {
	if o.GetKind() != "Application" {
		return
	}
	spec, _ := o.Object["spec"].(map[string]any)
	ref, _ := spec["sourceRef"].(map[string]any)
	if spec == nil || ref["name"] != nil {
		return
	}
	s := source(parent)
	o.Unstructured = o.DeepCopy()
	o.Object["spec"].(map[string]any)["sourceRef"] = map[string]any{"name": s.Name, "namespace": s.Namespace}
}

// asProblems tells mistakes in the tree from failures of the machine.
func asProblems(err error) (api.Problems, bool) {
	var p api.Problems
	ok := errors.As(err, &p)
	return p, ok
}
