package dashboard

import "github.com/gin-gonic/gin"

func (d *Dashboard) registerPages(r gin.IRouter)                       {}
func (d *Dashboard) pageError(c *gin.Context, status int, text string) { c.String(status, text) }
