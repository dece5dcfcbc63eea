package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"slipway.dev/slipway/api"
)

// The annotations by which an object says how it is applied. Flux's of the same meaning
// count, and Argo CD's sync options Prune=false, Replace=true and Force=true.
const (
	// ApplyAnnotation is Override (default), Merge, IfNotPresent (made once, then left
	// alone) or Ignore (neither made, changed nor deleted). Override and Merge are the same
	// here: fields that git does not name always stay with whoever set them.
	ApplyAnnotation = "slipway.dev/ssa"
	// ForceAnnotation set to "enabled" lets an object be deleted and made anew where a
	// field changes that cannot be changed.
	ForceAnnotation = "slipway.dev/force"
	// IgnoreAnnotation lists JSON pointers, separated by commas, of fields that are set when
	// the object is made, and not looked at afterwards.
	IgnoreAnnotation = "slipway.dev/ignore"

	fluxApply, fluxPrune, fluxForce, fluxReconcile = "kustomize.toolkit.fluxcd.io/ssa", "kustomize.toolkit.fluxcd.io/prune",
		"kustomize.toolkit.fluxcd.io/force", "kustomize.toolkit.fluxcd.io/reconcile"
	argoOptions = "argocd.argoproj.io/sync-options"
)

// The ways to apply an object.
const (
	applyOverride = "Override"
	applyMerge    = "Merge"
	applyOnce     = "IfNotPresent"
	applyNever    = "Ignore"
)

// policy is how one object is applied.
type policy struct {
	apply string
	// force: it may be replaced. keep: it stays when it leaves git.
	force, keep bool
	// ignore are paths of fields that are left alone once the object is there.
	ignore [][]string
}

// special says that the policy asks for more than to be applied as it is.
func (p policy) special() bool {
	return p.apply == applyOnce || p.apply == applyNever || len(p.ignore) > 0
}

// policyOf reads an object's annotations. The error names the annotation.
func policyOf(o *unstructured.Unstructured) (policy, error) {
	p := policy{apply: applyOverride}
	a := o.GetAnnotations()
	if len(a) == 0 {
		return p, nil
	}
	for _, name := range []string{fluxApply, ApplyAnnotation} {
		text, ok := a[name]
		if !ok {
			continue
		}
		i := slices.IndexFunc([]string{applyOverride, applyMerge, applyOnce, applyNever}, func(w string) bool { return strings.EqualFold(w, text) })
		if i < 0 {
			return p, fmt.Errorf("metadata.annotations[%s]: is %q, not Override, Merge, IfNotPresent or Ignore", name, text)
		}
		p.apply = []string{applyOverride, applyMerge, applyOnce, applyNever}[i]
	}
	if a[fluxReconcile] == "disabled" {
		p.apply = applyNever
	}
	options := strings.FieldsFunc(a[argoOptions], func(r rune) bool { return r == ',' || r == ' ' })
	p.keep = a[KeepAnnotation] == "disabled" || a[fluxPrune] == "disabled" || slices.Contains(options, "Prune=false") || p.apply == applyNever
	p.force = a[ForceAnnotation] == "enabled" || a[fluxForce] == "enabled" || slices.Contains(options, "Replace=true") || slices.Contains(options, "Force=true")
	if text, ok := a[IgnoreAnnotation]; ok {
		var err error
		if p.ignore, err = pointers(text); err != nil {
			return p, fmt.Errorf("metadata.annotations[%s]: %w", IgnoreAnnotation, err)
		}
	}
	return p, nil
}

// pointers reads JSON pointers (RFC 6901), separated by commas.
func pointers(text string) ([][]string, error) {
	var out [][]string
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if !strings.HasPrefix(one, "/") || one == "/" {
			return nil, fmt.Errorf("%q is not a JSON pointer, such as /spec/replicas", one)
		}
		path := strings.Split(one[1:], "/")
		for i, p := range path {
			path[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
		}
		if len(path) == 1 || path[0] == "metadata" && path[1] != "annotations" && path[1] != "labels" {
			return nil, fmt.Errorf("%q: only fields of spec, data and the like, labels and annotations can be ignored", one)
		}
		out = append(out, path)
	}
	return out, nil
}

// onto makes desired what is applied on top of live; nil: there is none. It says false where
// live is left as it is.
func (p policy) onto(desired, live *unstructured.Unstructured) bool {
	switch {
	case p.apply == applyNever, p.apply == applyOnce && live != nil:
		return false
	case live == nil:
		return true
	}
	for _, path := range p.ignore {
		value, found := at(live.Object, path)
		if !found || ownedByOther(live, path) {
			remove(desired.Object, path)
			continue
		}
		// Nobody else answers for it: taken out, it would vanish from what is live.
		if _, named := at(desired.Object, path); named {
			replace(desired.Object, path, value)
		}
	}
	return true
}

// byPolicy reads the policies of objects that are about to be compared, and what is live
// where a policy asks for it. It returns the objects that are to be compared.
func (p *planner) byPolicy(ctx context.Context, moved []candidate, known *known, out *Plan) ([]candidate, error) {
	kept := moved[:0]
	for _, c := range moved {
		var err error
		if c.policy, err = policyOf(c.shaped); err != nil {
			field, message, _ := strings.Cut(err.Error(), ": ")
			out.Problems = append(out.Problems, problem(c.DesiredObject, field, message))
			continue
		}
		if !c.policy.special() {
			kept = append(kept, c)
			continue
		}
		live, err := p.live(ctx, c.ref)
		if err != nil {
			return nil, err
		}
		if c.policy.onto(c.shaped, live) {
			kept = append(kept, c)
			continue
		}
		out.Unchanged++
		if c.policy.apply == applyNever {
			out.inventory = slices.DeleteFunc(out.inventory, func(r inventoryRef) bool { return r == c.ref })
			continue
		}
		known.equal(c.ref, c.hash, live.GetResourceVersion())
	}
	return kept, nil
}

// keeps says that an object stays when it leaves git.
func keeps(live *unstructured.Unstructured) bool {
	p, _ := policyOf(live)
	return p.keep
}

// replacement is the step that deletes an object and makes it anew.
func replacement(s Step) Step {
	s.Action = Replace
	for _, f := range maskFields(s.desired, diffFields(s.live, s.desired)) {
		if f.New != "" {
			s.Fields = append(s.Fields, f)
		}
	}
	return s
}

// makeWay deletes the object that is replaced. It says so where that takes its time; then
// the next look finds it gone, and makes the new one.
func (p *planner) makeWay(ctx context.Context, s Step) error {
	if err := p.prune(ctx, s); err != nil {
		return err
	}
	live, err := p.live(ctx, s.ref)
	if err != nil {
		return err
	}
	if live != nil && live.GetUID() == s.live.GetUID() {
		return errors.New("is made anew as soon as the present one is gone")
	}
	return nil
}

// ownedByOther says whether another manager than git answers for a field, or for anything in it.
func ownedByOther(o *unstructured.Unstructured, path []string) bool {
	for _, e := range o.GetManagedFields() {
		if e.Manager == FieldManager || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err == nil && owns(set, o.Object, path) {
			return true
		}
	}
	return false
}

// owns follows a path through a set of fields, along the value that tells the keys of lists.
func owns(set *fieldpath.Set, value any, path []string) bool {
	for i, step := range path {
		element, next, ok := elementOf(set, value, step)
		if !ok {
			return false
		}
		if i == len(path)-1 {
			_, below := set.Children.Get(element)
			return set.Members.Has(element) || below
		}
		if set, ok = set.Children.Get(element); !ok {
			return false
		}
		value = next
	}
	return false
}

// elementOf is how a set of fields names one step of a JSON pointer.
func elementOf(set *fieldpath.Set, value any, step string) (fieldpath.PathElement, any, bool) {
	switch v := value.(type) {
	case map[string]any:
		return fieldpath.PathElement{FieldName: &step}, v[step], true
	case []any:
		i, ok := index(v, step)
		if !ok {
			return fieldpath.PathElement{}, nil, false
		}
		item, _ := v[i].(map[string]any)
		found := fieldpath.PathElement{}
		set.Iterate(func(p fieldpath.Path) {
			if len(p) > 0 && isKeyOf(p[0], item) {
				found = p[0]
			}
		})
		return found, v[i], found.Key != nil
	}
	return fieldpath.PathElement{}, nil, false
}

func isKeyOf(e fieldpath.PathElement, item map[string]any) bool {
	if e.Key == nil {
		return false
	}
	for _, f := range *e.Key {
		if fmt.Sprint(item[f.Name]) != fmt.Sprint(f.Value.Unstructured()) {
			return false
		}
	}
	return true
}

// replaceable says whether live state refused a change only because a field cannot be changed.
func replaceable(err error) bool {
	if err == nil || !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "immutable") || strings.Contains(text, "may not change after creation") ||
		strings.Contains(text, "may not be changed") || strings.Contains(text, "updates to") && strings.Contains(text, "are forbidden")
}

// howToReplace is what a problem adds about a field that cannot be changed.
func howToReplace(problems []api.Problem) []api.Problem {
	for i := range problems {
		problems[i].Message += "; to have the object deleted and made anew, annotate it with " + ForceAnnotation + ": enabled"
	}
	return problems
}
