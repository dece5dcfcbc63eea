package api

import (
	"testing"

	templatev1 "github.com/openshift/api/template/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A commit may change the template that an instance holds, or name another one.
func TestTemplateInstanceMayChange(t *testing.T) {
	t.Parallel()
	old := &templatev1.TemplateInstance{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop", UID: "u"}}
	old.Spec.Template.Name = "database"
	changed := old.DeepCopy()
	changed.Spec.Template.Parameters = []templatev1.Parameter{{Name: "SIZE", Value: "2Gi"}}
	changed.Spec.Template.Objects = []runtime.RawExtension{{Raw: []byte(`{"kind":"Service"}`)}}
	if errs := append(Validate(changed), ValidateUpdate(changed, old)...); len(errs) > 0 {
		t.Error(errs)
	}
}
