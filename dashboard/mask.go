package dashboard

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

const (
	// Mask stands where a secret was, whatever it was.
	Mask = "masked"
	// MaskBytes is Mask as bytes are written in JSON, so that clients can decode it.
	MaskBytes = "bWFza2Vk"
)

// mask hides what is secret in an object: the values of sealed kinds, and the secrets of
// webhooks in BuildConfigs and in the causes of Builds, also where they lie in a Template.
func mask(k api.Kind, o *unstructured.Unstructured) {
	if k.Sealed || k.Kind == "BuildConfig" || k.Kind == "Build" || k.Kind == "Template" || k.Kind == "TemplateInstance" {
		o.SetManagedFields(nil)
		dropCopies(o.Object)
	}
	if k.Kind == "Override" {
		maskPatch(o.Object)
		return
	}
	if k.Sealed {
		maskSecret(o.Object)
		return
	}
	maskNested(o.Object)
}

// dropCopies removes the annotations that hold a copy of the whole object.
func dropCopies(content map[string]any) {
	unstructured.RemoveNestedField(content, "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
}

// maskSecret keeps names of keys and hides values.
func maskSecret(content map[string]any) {
	delete(content, "stringData")
	data, _ := content["data"].(map[string]any)
	for key := range data {
		data[key] = MaskBytes
	}
	if _, is := content["data"]; is && data == nil {
		delete(content, "data")
	}
}

// maskPatch hides what an Override puts into a Secret, and the secrets of webhooks.
func maskPatch(content map[string]any) {
	spec, _ := content["spec"].(map[string]any)
	object, _ := spec["object"].(map[string]any)
	patch, _ := spec["patch"].(map[string]any)
	if object["kind"] == "Secret" {
		maskTemplateSecret(patch)
	}
	maskNested(patch)
}

// maskNested looks for Secrets and webhooks at any depth.
func maskNested(value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			maskNested(item)
		}
	case map[string]any:
		if v["kind"] == "Secret" && (v["data"] != nil || v["stringData"] != nil) {
			maskTemplateSecret(v)
		}
		for key, item := range v {
			if m, ok := item.(map[string]any); ok && webhooks[key] {
				if _, inline := m["secret"].(string); inline {
					m["secret"] = Mask
				}
			}
			maskNested(item)
		}
	}
}

// maskTemplateSecret hides a Secret in a template, which may have both kinds of data.
func maskTemplateSecret(content map[string]any) {
	dropCopies(content)
	if plain, ok := content["stringData"].(map[string]any); ok {
		for key := range plain {
			plain[key] = Mask
		}
	}
	if data, ok := content["data"].(map[string]any); ok {
		for key := range data {
			data[key] = MaskBytes
		}
	}
}

// webhooks are the fields of build triggers, and of the causes of builds, that hold a secret.
var webhooks = map[string]bool{
	"generic": true, "github": true, "gitlab": true, "bitbucket": true,
	"genericWebHook": true, "githubWebHook": true, "gitlabWebHook": true, "bitbucketWebHook": true,
}

// selectable says whether a field may be selected by: not if what it matches would tell
// a value that is masked.
func selectable(k api.Kind, path string) bool {
	switch {
	case path == "metadata.name" || path == "metadata.namespace":
		return true
	case k.Sealed:
		return path == "type"
	case k.Kind == "BuildConfig" || k.Kind == "Template" || k.Kind == "TemplateInstance":
		return false
	}
	return true
}
