package dashboard

import (
	"net/http"

	"github.com/gin-gonic/gin"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/dashboard/table"
)

func (d *Dashboard) get(v *view) gin.HandlerFunc {
	return func(c *gin.Context) {
		q, err := v.query(c)
		if err != nil {
			d.answerError(c, err)
			return
		}
		key := client.ObjectKey{Namespace: q.Namespace, Name: c.Param("name")}
		if v.Kind.Kind == "Namespace" {
			key = client.ObjectKey{Name: q.Namespace}
		}
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(v.stored.GroupVersionKind)
		if err := d.Client.Get(c.Request.Context(), key, o); err != nil {
			d.answerError(c, err)
			return
		}
		v.show(o)
		if !q.table {
			c.JSON(http.StatusOK, o.Object)
			return
		}
		d.answerTable(c, v, q, o.GetResourceVersion(), []unstructured.Unstructured{*o}, metav1.ListMeta{})
	}
}

func (d *Dashboard) list(v *view) gin.HandlerFunc {
	return func(c *gin.Context) {
		q, err := v.query(c)
		if err != nil {
			d.answerError(c, err)
			return
		}
		if q.watch {
			d.watch(c, v, q)
			return
		}
		list := v.newList()
		if err := d.Client.List(c.Request.Context(), list, &q.ListOptions); err != nil {
			d.answerError(c, err)
			return
		}
		for i := range list.Items {
			v.show(&list.Items[i])
		}
		more := metav1.ListMeta{Continue: list.GetContinue(), RemainingItemCount: list.GetRemainingItemCount()}
		if q.table {
			d.answerTable(c, v, q, list.GetResourceVersion(), list.Items, more)
			return
		}
		list.SetGroupVersionKind(v.GroupVersion().WithKind(v.Kind.Kind + "List"))
		c.JSON(http.StatusOK, list)
	}
}

func (v *view) newList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v.stored.GroupVersion().WithKind(v.stored.Kind + "List"))
	return list
}

func (d *Dashboard) answerTable(c *gin.Context, v *view, q query, revision string, items []unstructured.Unstructured, more metav1.ListMeta) {
	t := table.New(v.GroupKind())
	t.ListMeta = more
	t.ResourceVersion = revision
	now := d.Now()
	for i := range items {
		row, err := table.Row(v.GroupKind(), &items[i], q.include, now)
		if err != nil {
			d.answerError(c, err)
			return
		}
		t.Rows = append(t.Rows, row)
	}
	c.JSON(http.StatusOK, t)
}
