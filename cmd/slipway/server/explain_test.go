package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/state/statetest"
)

func TestAPodIsExplained(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Unschedulable: true}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
	for _, err := range []error{c.Create(t.Context(), n), c.Create(t.Context(), pod)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/explain", explain(c))
	ask := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/explain?"+query, nil))
		return w
	}
	if got := ask("project=shop").Code; got != http.StatusBadRequest {
		t.Errorf("no pod: %d", got)
	}
	if got := ask("project=shop&pod=q"); got.Code != http.StatusNotFound || !strings.Contains(got.Body.String(), "there is no pod shop/q") {
		t.Errorf("no such pod: %d %s", got.Code, got.Body)
	}
	var a ExplainAnswer
	if got := ask("project=shop&pod=p"); json.Unmarshal(got.Body.Bytes(), &a) != nil || a.Explanation == nil {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if !strings.Contains(a.Text, "fits nowhere: 0/1 nodes are available: 1 node(s) were unschedulable.") || a.Explanation.Nodes[0].Predicates[1].Name != "CheckNodeUnschedulable" {
		t.Errorf("%s %+v", a.Text, a.Explanation)
	}
}
