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
		repository, ok := repositoryOf(c)
		if !ok {
			return
		}
		refs := c.QueryArray("ref")
		if len(refs) == 0 || refs[0] == "" {
			c.String(http.StatusBadRequest, "want ref=branch, tag or commit\n")
			return
		}
		// Of several the first that is there counts: git hosts name pull requests differently.
		var plans []*reconciler.Plan
		var err error
		for _, ref := range refs {
			if plans, err = r.Preview(c.Request.Context(), repository, ref); err == nil {
				break
			}
		}
		tellPlans(c, plans, err)
	}
}

func repositoryOf(c *gin.Context) (types.NamespacedName, bool) {
	ns, name, _ := strings.Cut(c.Query("repository"), "/")
	if ns == "" || name == "" {
		c.String(http.StatusBadRequest, "want repository=project/name\n")
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: ns, Name: name}, true
}

func tellPlans(c *gin.Context, plans []*reconciler.Plan, err error) {
	if err != nil {
		c.String(http.StatusUnprocessableEntity, "%s\n", err)
		return
	}
	a := PreviewAnswer{Plans: plans}
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
