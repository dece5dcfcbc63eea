package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// depends adds to what cluster/ depends on that the folders below projects/ were listed.
func (l layout) depends(dir string, d api.Depends) api.Depends {
	d.Listings = append(slices.Clip(d.Listings), path.Join(dir, projectsFolder))
	if l.cluster == "" {
		d.Folders = append(slices.Clip(d.Folders), path.Join(dir, clusterFolder))
	}
	return d
}

// hash identifies what a root Application renders to: what cluster/ does, and the folders
// and everything of the Application that goes into theirs. Empty: it is not known.
func (l layout) hash(root *v1alpha1.Application, cluster string) string {
	raw, err := json.Marshal([]any{cluster, l.projects, root.Namespace, root.Name, root.Spec})
	if err != nil || cluster == "" {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
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
func projectObjects(root *v1alpha1.Application, l layout, objects []api.DesiredObject) ([]api.DesiredObject, error) {
	projects, applications := declared(objects, "Project"), declared(objects, "Application")
	project, err := bare(&projectv1.Project{TypeMeta: metav1.TypeMeta{APIVersion: projectv1.GroupVersion.String(), Kind: "Project"}})
	if err != nil {
		return nil, err
	}
	application, err := bare(&v1alpha1.Application{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Application"},
		ObjectMeta: metav1.ObjectMeta{Namespace: root.Namespace},
		Spec:       v1alpha1.ApplicationSpec{SourceRef: root.Spec.SourceRef, Parameters: root.Spec.Parameters},
	})
	if err != nil {
		return nil, err
	}
	var out []api.DesiredObject
	var problems api.Problems
	for _, name := range l.projects {
		dir := path.Join(root.Spec.Path, projectsFolder, name)
		if name == root.Namespace || name == root.Name {
			// Its Application would take the root's place, or write among the root's objects.
			problems = append(problems, api.Problem{File: dir, Message: "a project cannot be named " + name + ": the name is Slipway's own; what belongs there goes to " + clusterFolder + "/"})
			continue
		}
		from := api.Origin{File: dir + "/"}
		if !projects[name] {
			o := project.DeepCopy()
			o.SetName(name)
			out = append(out, api.DesiredObject{Unstructured: o, Origin: from})
		}
		if !applications[name] {
			o := application.DeepCopy()
			o.SetName(name)
			spec := o.Object["spec"].(map[string]any)
			spec["path"], spec["project"] = dir, name
			out = append(out, api.DesiredObject{Unstructured: o, Origin: from})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

// declared are the names of the objects of a kind.
func declared(objects []api.DesiredObject, kind string) map[string]bool {
	names := map[string]bool{}
	for _, o := range objects {
		if o.GetKind() == kind {
			names[o.GetName()] = true
		}
	}
	return names
}

// bare is an object without its status.
func bare(o runtime.Object) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	delete(m, "status")
	unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: m}, nil
}
