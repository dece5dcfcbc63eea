package server

import (
	"net/http"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/schedule"
)

// ExplainAnswer is what `slipway explain pod` is answered.
type ExplainAnswer struct {
	Text        string                `json:"text"`
	Explanation *schedule.Explanation `json:"explanation"`
}

// explain answers why a pod is where it is, or where it would go.
func explain(c client.Client) gin.HandlerFunc {
	return func(g *gin.Context) {
		key := types.NamespacedName{Namespace: g.Query("project"), Name: g.Query("pod")}
		if key.Namespace == "" || key.Name == "" {
			g.String(http.StatusBadRequest, "want project= and pod=\n")
			return
		}
		e, err := schedule.Explain(g.Request.Context(), c, key)
		switch {
		case apierrors.IsNotFound(err):
			g.String(http.StatusNotFound, "there is no pod %s\n", key)
		case err != nil:
			g.String(http.StatusInternalServerError, "%s\n", err)
		default:
			g.JSON(http.StatusOK, ExplainAnswer{e.String(), e})
		}
	}
}
