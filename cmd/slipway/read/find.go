package read

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

// find reads one object. Without a project it looks in all of them, and a name that
// several have is an error that lists them.
func (s *scope) find(ctx context.Context, k api.Kind, name string) (*unstructured.Unstructured, error) {
	if !k.Namespaced || s.in() != "" {
		var o unstructured.Unstructured
		return &o, s.object(ctx, path(k, s.in(), name), nil, &o.Object)
	}
	var list unstructured.UnstructuredList
	if err := s.object(ctx, path(k, "", ""), url.Values{"fieldSelector": {"metadata.name=" + name}}, &list); err != nil {
		return nil, err
	}
	switch len(list.Items) {
	case 0:
		return nil, missing(k, name)
	case 1:
		o := &list.Items[0]
		o.SetGroupVersionKind(k.GroupVersionKind)
		return o, nil
	}
	var projects []string
	for i := range list.Items {
		projects = append(projects, list.Items[i].GetNamespace())
	}
	return nil, fmt.Errorf("%s %q is in several projects, choose one with -n: %s", k.GroupResource(), name, strings.Join(projects, ", "))
}

// one reads the arguments `KIND NAME`, `KIND/NAME`, or NAME where a kind is given.
func one(args []string, otherwise string) (api.Kind, string, error) {
	word, name, slash := strings.Cut(args[0], "/")
	switch {
	case slash && len(args) == 1:
	case len(args) == 2 && !slash:
		name = args[1]
	case len(args) == 1 && otherwise != "":
		word, name = otherwise, args[0]
	default:
		return api.Kind{}, "", fmt.Errorf("%q: want KIND NAME or KIND/NAME", strings.Join(args, " "))
	}
	k, err := kind(word)
	if err == nil && name == "" {
		err = fmt.Errorf("%q: the name is missing", args[0])
	}
	return k, name, err
}
