package router

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// AdminHandler answers for the router itself: /healthz, /table and /stats. It belongs on
// a listener of its own; tenants own every path of the router's.
func (r *Router) AdminHandler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/healthz", func(c *gin.Context) {
		r.world.mu.Lock()
		complete := r.world.complete
		r.world.mu.Unlock()
		if !complete {
			c.String(http.StatusServiceUnavailable, "the routes have not been read yet\n")
			return
		}
		c.String(http.StatusOK, "ok\n")
	})
	engine.GET("/table", func(c *gin.Context) { c.String(http.StatusOK, "%s", r.Table()) })
	engine.GET("/stats", func(c *gin.Context) { c.JSON(http.StatusOK, r.Stats()) })
	return engine
}
