package reconciler

import (
	"io/fs"
	"path"
	"slices"

	projectv1 "github.com/openshift/api/project/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// The folders of a configuration repository.
const (
	clusterFolder  = "cluster"
	projectsFolder = "projects"
)

// layout is what an Application's path holds when it is laid out as a configuration
// repository: cluster/ for cluster-wide objects, and a folder for each project.
type layout struct {
	cluster  string
	projects []string
}

// layoutOf recognises a configuration repository; false: path is rendered as it is.
func layoutOf(tree fs.FS, dir string) (layout, bool) {
	var l layout
	if isDir(tree, path.Join(dir, clusterFolder)) {
		l.cluster = path.Join(dir, clusterFolder)
	}
	folders, err := fs.ReadDir(tree, path.Join(dir, projectsFolder))
	if err == nil {
		for _, f := range folders {
			if f.IsDir() {
				l.projects = append(l.projects, f.Name())
			}
		}
	}
	return l, l.cluster != "" || len(l.projects) > 0
}

// Folder is a part of a repository that is rendered by itself.
type Folder struct {
	Path string
	// Project that objects go to which name none; empty: none.
	Project string
}

// Folders are the parts of a repository that a root Application at dir, "." or a folder,
// renders: cluster/ and each project of a configuration repository, else dir itself.
func Folders(tree fs.FS, dir string) []Folder {
	l, ok := layoutOf(tree, dir)
	if !ok {
		return []Folder{{Path: dir}}
	}
	var out []Folder
	if l.cluster != "" {
		out = append(out, Folder{Path: l.cluster})
	}
	for _, name := range l.projects {
		out = append(out, Folder{path.Join(dir, projectsFolder, name), name})
	}
	return out
}

func isDir(tree fs.FS, name string) bool {
	info, err := fs.Stat(tree, name)
	return err == nil && info.IsDir()
}

// projectObjects gives every folder below projects/ a Project and an Application of
// its name, unless cluster/ declares them, so that a mistake in one project stops no
// other. The Applications inherit the root's source and parameters.
func projectObjects(root *v1alpha1.Application, l layout, declared []api.DesiredObject) ([]api.DesiredObject, error) {
	var out []api.DesiredObject
	var problems api.Problems
	for _, name := range l.projects {
		dir := path.Join(root.Spec.Path, projectsFolder, name)
		if name == root.Namespace || name == root.Name {
			// Its Application would take the root's place, or write among the root's objects.
			problems = append(problems, api.Problem{File: dir, Message: "a project cannot be named " + name + ": the name is Slipway's own; what belongs there goes to " + clusterFolder + "/"})
			continue
		}
		if !declares(declared, "Project", name) {
			project := &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}}
			project.SetGroupVersionKind(projectv1.GroupVersion.WithKind("Project"))
			o, err := desiredFrom(project, dir)
			if err != nil {
				return nil, err
			}
			out = append(out, o)
		}
		if declares(declared, "Application", name) {
			continue
		}
		app := &v1alpha1.Application{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: root.Namespace},
			Spec: v1alpha1.ApplicationSpec{
				SourceRef: root.Spec.SourceRef, Path: dir, Project: name, Parameters: root.Spec.Parameters,
			},
		}
		app.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Application"))
		o, err := desiredFrom(app, dir)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

func declares(objects []api.DesiredObject, kind, name string) bool {
	return slices.ContainsFunc(objects, func(o api.DesiredObject) bool {
		return o.GetKind() == kind && o.GetName() == name
	})
}

func desiredFrom(o runtime.Object, file string) (api.DesiredObject, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return api.DesiredObject{}, err
	}
	delete(m, "status")
	unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
	return api.DesiredObject{
		Unstructured: &unstructured.Unstructured{Object: m},
		Origin:       api.Origin{File: file + "/"},
	}, nil
}
