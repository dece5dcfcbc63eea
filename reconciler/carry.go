package reconciler

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// carries: the object has fields that its controllers write.
func carries(o *unstructured.Unstructured) bool {
	return o.GetKind() == "DeploymentConfig" &&
		slices.ContainsFunc(triggers(o), func(t map[string]any) bool { return t["imageChangeParams"] != nil })
}

// carry leaves to the controllers what is theirs inside of a spec that git declares.
// OpenShift keeps what an image trigger last did in the DeploymentConfig's spec, in a
// list that server-side apply treats as one value: applying git's list as it stands
// would undo the trigger at every look.
func carry(desired, live *unstructured.Unstructured) {
	if !carries(desired) {
		return
	}
	carryTriggers(desired, live)
	names := triggeredContainers(desired)
	for _, list := range []string{"containers", "initContainers"} {
		path := []string{"spec", "template", "spec", list}
		containers, ok, _ := unstructured.NestedSlice(desired.Object, path...)
		if !ok {
			continue
		}
		for _, c := range containers {
			if m, ok := c.(map[string]any); ok && slices.Contains(names, str(m["name"])) {
				delete(m, "image")
			}
		}
		_ = unstructured.SetNestedSlice(desired.Object, containers, path...)
	}
}

// triggeredContainers are the containers whose image an automatic image trigger sets.
func triggeredContainers(dc *unstructured.Unstructured) []string {
	var names []string
	for _, t := range triggers(dc) {
		params, _ := t["imageChangeParams"].(map[string]any)
		if automatic, _ := params["automatic"].(bool); !automatic {
			continue
		}
		list, _ := params["containerNames"].([]any)
		for _, n := range list {
			names = append(names, str(n))
		}
	}
	return names
}

// carryTriggers copies what a trigger last did from the live trigger that watches the
// same tag for the same containers.
func carryTriggers(desired, live *unstructured.Unstructured) {
	const params, field = "imageChangeParams", "lastTriggeredImage"
	wanted := triggers(desired)
	if live == nil || len(wanted) == 0 {
		return
	}
	changed := false
	for _, t := range wanted {
		p, ok := t[params].(map[string]any)
		if !ok {
			continue
		}
		for _, l := range triggers(live) {
			lp, _ := l[params].(map[string]any)
			if lp[field] != nil && sameTrigger(p, lp, desired.GetNamespace()) {
				p[field] = lp[field]
				changed = true
			}
		}
	}
	if changed {
		list := make([]any, len(wanted))
		for i, t := range wanted {
			list[i] = t
		}
		_ = unstructured.SetNestedSlice(desired.Object, list, "spec", "triggers")
	}
}

func sameTrigger(a, b map[string]any, namespace string) bool {
	return triggerFrom(a, namespace) == triggerFrom(b, namespace) &&
		slices.Equal(strs(a["containerNames"]), strs(b["containerNames"]))
}

func triggerFrom(p map[string]any, namespace string) string {
	from, _ := p["from"].(map[string]any)
	if ns := str(from["namespace"]); ns != "" {
		namespace = ns
	}
	return namespace + "/" + str(from["name"])
}

func triggers(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
	var out []map[string]any
	for _, t := range list {
		if m, ok := t.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func str(v any) string { s, _ := v.(string); return s }

func strs(v any) []string {
	list, _ := v.([]any)
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = str(x)
	}
	return out
}
