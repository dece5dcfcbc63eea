package render_test

import (
	"encoding/json"
	"testing"

	"slipway.dev/slipway/render"
)

// OpenShift's own bindings become what they are stored as.
func TestLegacyPolicy(t *testing.T) {
	r := newRenderer(t, render.Options{})
	got, err := r.Render(t.Context(), render.Request{Project: "shop", Application: "shop/a", Tree: tree(map[string]string{"a.yaml": `
kind: List
items:
- {apiVersion: v1, kind: RoleBinding, metadata: {name: a}, groupNames: null, roleRef: {name: edit}, subjects: [{kind: ServiceAccount, name: robot}]}
- {apiVersion: authorization.openshift.io/v1, kind: RoleBinding, metadata: {name: b}, roleRef: {name: own, namespace: shop},
   userNames: [ann, "system:serviceaccount:shop:robot"], groupNames: [devs]}
- {apiVersion: v1, kind: RoleBinding, metadata: {name: c}, roleRef: {name: view}, subjects: [{kind: SystemGroup, name: "system:authenticated"}]}
- {apiVersion: v1, kind: Role, metadata: {name: own}, rules: [{apiGroups: [""], resources: [pods], verbs: [get], attributeRestrictions: null}]}
- {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: d}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: own}, subjects: [{kind: ServiceAccount, name: robot}]}
`})})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"edit"},"subjects":[{"kind":"ServiceAccount","name":"robot"}]}`,
		`{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"own"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"ann"},{"kind":"ServiceAccount","name":"robot","namespace":"shop"},{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"devs"}]}`,
		`{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"system:authenticated"}]}`,
		`{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}`,
		`{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"own"},"subjects":[{"kind":"ServiceAccount","name":"robot"}]}`,
	}
	for i, o := range got.Objects {
		m := map[string]any{}
		for k, v := range o.Object {
			if k != "apiVersion" && k != "kind" && k != "metadata" {
				m[k] = v
			}
		}
		if raw, _ := json.Marshal(m); string(raw) != want[i] || o.GetAPIVersion() != "rbac.authorization.k8s.io/v1" {
			t.Errorf("%s %s: got %s", o.GetAPIVersion(), o.GetName(), raw)
		}
	}
}
