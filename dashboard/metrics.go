package dashboard

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// MetricsSource measures what pods and nodes use. What it answers with needs names, and
// what was measured, only.
type MetricsSource interface {
	PodMetrics(ctx context.Context) ([]api.PodMetrics, error)
	NodeMetrics(ctx context.Context) ([]api.NodeMetrics, error)
}

// metricsWindow is over how long what is shown was measured, at most.
const metricsWindow = time.Minute

// registerMetrics mounts metrics.k8s.io, which `kubectl top` and `slipway top` read.
func (d *Dashboard) registerMetrics(r gin.IRouter) {
	base := "/apis/" + api.MetricsGroup.String()
	pods := func(c *gin.Context) { d.answerMetrics(c, d.podMetrics) }
	nodes := func(c *gin.Context) { d.answerMetrics(c, d.nodeMetrics) }
	r.GET(base+"/pods", pods)
	r.GET(base+"/namespaces/:namespace/pods", pods)
	r.GET(base+"/namespaces/:namespace/pods/:name", pods)
	r.GET(base+"/nodes", nodes)
	r.GET(base+"/nodes/:name", nodes)
}

// metricsResources is what discovery says of metrics.k8s.io.
func metricsResources() *metav1.APIResourceList {
	return &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: api.MetricsGroup.String(),
		APIResources: []metav1.APIResource{
			{Name: "nodes", Kind: "NodeMetrics", Verbs: metav1.Verbs{"get", "list"}},
			{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: metav1.Verbs{"get", "list"}},
		},
	}
}

func (d *Dashboard) answerMetrics(c *gin.Context, find func(*gin.Context, labels.Selector) (any, error)) {
	selector, err := labels.Parse(c.Query("labelSelector"))
	if err != nil {
		d.answerError(c, apierrors.NewBadRequest("labelSelector: "+err.Error()))
		return
	}
	if d.Metrics == nil {
		d.answerError(c, apierrors.NewServiceUnavailable("this server measures nothing"))
		return
	}
	answer, err := find(c, selector)
	if err != nil {
		d.answerError(c, err)
		return
	}
	c.JSON(http.StatusOK, answer)
}

func (d *Dashboard) podMetrics(c *gin.Context, selector labels.Selector) (any, error) {
	var pods corev1.PodList
	if err := d.Client.List(c, &pods, client.InNamespace(c.Param("namespace")), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	byName := map[string]*corev1.Pod{}
	for i := range pods.Items {
		byName[pods.Items[i].Namespace+"/"+pods.Items[i].Name] = &pods.Items[i]
	}
	measured, err := d.Metrics.PodMetrics(c)
	if err != nil {
		return nil, err
	}
	list := api.PodMetricsList{TypeMeta: metricsType("PodMetricsList"), Items: []api.PodMetrics{}}
	for _, m := range measured {
		pod := byName[m.Namespace+"/"+m.Name]
		if pod == nil || c.Param("name") != "" && m.Name != c.Param("name") {
			continue
		}
		m.Labels, m.Timestamp, m.Window = pod.Labels, metav1.NewTime(d.Now()), metav1.Duration{Duration: metricsWindow}
		m.CreationTimestamp = m.Timestamp
		slices.SortFunc(m.Containers, func(a, b api.ContainerMetrics) int { return strings.Compare(a.Name, b.Name) })
		list.Items = append(list.Items, m)
	}
	slices.SortFunc(list.Items, func(a, b api.PodMetrics) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	if name := c.Param("name"); name == "" {
		return list, nil
	} else if len(list.Items) == 0 {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: api.MetricsGroup.Group, Resource: "pods"}, name)
	}
	list.Items[0].TypeMeta = metricsType("PodMetrics")
	return list.Items[0], nil
}

func (d *Dashboard) nodeMetrics(c *gin.Context, selector labels.Selector) (any, error) {
	var nodes corev1.NodeList
	if err := d.Client.List(c, &nodes, client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	measured, err := d.Metrics.NodeMetrics(c)
	if err != nil {
		return nil, err
	}
	list := api.NodeMetricsList{TypeMeta: metricsType("NodeMetricsList"), Items: []api.NodeMetrics{}}
	for _, m := range measured {
		i := slices.IndexFunc(nodes.Items, func(n corev1.Node) bool { return n.Name == m.Name })
		if i < 0 || c.Param("name") != "" && m.Name != c.Param("name") {
			continue
		}
		m.Labels, m.Timestamp, m.Window = nodes.Items[i].Labels, metav1.NewTime(d.Now()), metav1.Duration{Duration: metricsWindow}
		m.CreationTimestamp = m.Timestamp
		list.Items = append(list.Items, m)
	}
	slices.SortFunc(list.Items, func(a, b api.NodeMetrics) int { return strings.Compare(a.Name, b.Name) })
	if name := c.Param("name"); name == "" {
		return list, nil
	} else if len(list.Items) == 0 {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: api.MetricsGroup.Group, Resource: "nodes"}, name)
	}
	list.Items[0].TypeMeta = metricsType("NodeMetrics")
	return list.Items[0], nil
}

func metricsType(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: api.MetricsGroup.String(), Kind: kind}
}
