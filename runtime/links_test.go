package runtime

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/statetest"
)

func TestLinksExportVariables(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	for _, project := range []string{"shop", "shared"} {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: "my-db"}, Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.7",
			Ports: []corev1.ServicePort{{Name: "sql", Port: 5432}, {Name: "admin", Port: 8080}}}}
		if err := c.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for links, want := range map[string]map[string]string{
		"my-db": {"MY_DB_SERVICE_HOST": "127.0.0.1", "MY_DB_SERVICE_PORT": "5432", "MY_DB_SERVICE_PORT_ADMIN": "8080", "MY_DB_PORT": "tcp://127.0.0.1:5432"},
		"3306=my-db.shared:sql": {"MY_DB_SERVICE_HOST": "127.0.0.1", "MY_DB_SERVICE_PORT": "3306", "MY_DB_SERVICE_PORT_SQL": "3306", "MY_DB_PORT": "tcp://127.0.0.1:3306",
			"MY_DB_SERVICE_PORT_ADMIN": ""},
		"nothing": {},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Annotations: map[string]string{api.LinksAnnotation: links}}}
		got, err := surroundings{client: c, pod: pod}.linkVariables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(got, func(k, _ string) bool { _, asked := want[k]; return !asked && len(want) > 0 })
		maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", links, got, want)
		}
	}
}
