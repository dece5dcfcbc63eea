package state

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// The key schema. Everything lives below the prefix (default /slipway):
//
//	<prefix>/<group, or "core">/<resource>/<namespace, or "_">/<name>   an object, as JSON or sealed JSON
//	<prefix>/.seal                                                      a fingerprint of the sealing key
//	<prefix>/.lead/<name>/<lease>                                       who leads, bound to an etcd lease
//
// API groups never begin with a dot, so that the last two cannot be taken for objects. A
// namespace or name is one segment: it has no slash, no percent sign, no control character, is neither
// "." nor "..", and has at most 253 bytes.
const (
	coreSegment    = "core"
	clusterSegment = "_"
	sealSegment    = ".seal"
	leadSegment    = ".lead"
	maxSegment     = 253
)

// prefixOf is what the keys of all objects of a kind begin with; namespace "" means all namespaces.
func prefixOf(root string, k api.Kind, namespace string) string {
	group := k.Group
	if group == "" {
		group = coreSegment
	}
	p := root + "/" + group + "/" + k.Resource + "/"
	switch {
	case !k.Namespaced:
		return p + clusterSegment + "/"
	case namespace != "":
		return p + namespace + "/"
	}
	return p
}

// keyOf is the key of one object, or an error that says which part cannot be in a key.
func keyOf(root string, k api.Kind, name types.NamespacedName) (string, error) {
	if err := checkSegment("name", name.Name); err != nil {
		return "", err
	}
	if k.Namespaced {
		if err := checkSegment("namespace", name.Namespace); err != nil {
			return "", err
		}
		if name.Namespace == clusterSegment {
			return "", fmt.Errorf("namespace: %q is reserved", clusterSegment)
		}
	}
	return prefixOf(root, k, name.Namespace) + name.Name, nil
}

// nameIn is keyOf's inverse: which object of kind k a key names.
func nameIn(root string, k api.Kind, key string) (types.NamespacedName, error) {
	rest, ok := strings.CutPrefix(key, prefixOf(root, k, ""))
	if !ok {
		return types.NamespacedName{}, fmt.Errorf("key %q is not one of a %s", key, k.Kind)
	}
	var n types.NamespacedName
	n.Name = rest
	if k.Namespaced {
		if n.Namespace, n.Name, ok = strings.Cut(rest, "/"); !ok {
			return types.NamespacedName{}, fmt.Errorf("key %q has no name", key)
		}
	}
	if _, err := keyOf(root, k, n); err != nil {
		return types.NamespacedName{}, fmt.Errorf("key %q: %w", key, err)
	}
	return n, nil
}

func checkSegment(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s: is required", what)
	}
	if len(s) > maxSegment {
		return fmt.Errorf("%s: has %d bytes, at most %d are allowed", what, len(s), maxSegment)
	}
	if msgs := content.IsPathSegmentName(s); len(msgs) > 0 {
		return fmt.Errorf("%s: %q %s", what, s, strings.Join(msgs, ", "))
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return fmt.Errorf("%s: %q has a control character", what, s)
		}
	}
	return nil
}
