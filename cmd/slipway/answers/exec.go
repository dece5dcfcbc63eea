package answers

import (
	"github.com/gin-gonic/gin"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/cmd/slipway/execution"
	"slipway.dev/slipway/runtime"
)

// exec runs a command in a container.
func exec(c *gin.Context, a *runtime.Agent) {
	pod := types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("pod")}
	if err := execution.Serve(c.Writer, c.Request, pod, a.Exec); err != nil {
		Refuse(c, err)
		return
	}
	c.Abort()
}
