package server

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/reconciler"
)

// PreviewAnswer is what `slipway diff` is answered.
type PreviewAnswer struct {
	Text     string             `json:"text"`
	Changes  int                `json:"changes"`
	Problems int                `json:"problems"`
	Plans    []*reconciler.Plan `json:"plans"`
}

// preview answers what merging a ref would do. It reads only.
func preview(r *reconciler.Reconciler) gin.HandlerFunc {
	return func(c *gin.Context) {
		ns, name, _ := strings.Cut(c.Query("repository"), "/")
		ref := c.Query("ref")
		if ns == "" || name == "" || ref == "" {
			c.String(http.StatusBadRequest, "want repository=project/name and ref=branch, tag or commit\n")
			return
		}
		plans, err := r.Preview(c.Request.Context(), types.NamespacedName{Namespace: ns, Name: name}, ref)
		if err != nil {
			c.String(http.StatusUnprocessableEntity, "%s\n", err)
			return
		}
		var a PreviewAnswer
		a.Plans = plans
		for _, p := range plans {
			a.Problems += len(p.Problems)
			a.Changes += len(p.Steps)
			if !p.Empty() || len(p.Problems) > 0 {
				a.Text += p.String()
			}
		}
		if a.Text == "" {
			a.Text = "Nothing would change.\n"
		}
		c.JSON(http.StatusOK, a)
	}
}
