package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// onlyLoopbackHosts refuses requests for other hosts than this machine where the API
// listens on loopback, which asks nobody who he is: a page of any site could have its own
// name resolve to 127.0.0.1, and read live state with its visitor's browser. Hooks come
// by their public name through whatever forwards them, and prove themselves.
func onlyLoopbackHosts(listen string) gin.HandlerFunc {
	if !isLoopback(listen) {
		return func(*gin.Context) {}
	}
	return func(c *gin.Context) {
		p := c.Request.URL.Path
		hook := c.Request.Method == http.MethodPost && (strings.HasPrefix(p, "/hooks/") || strings.Contains(p, "/webhooks/"))
		if hook || isLoopback(c.Request.Host) {
			return
		}
		c.String(http.StatusMisdirectedRequest, "%q is not a name of this API, which serves this machine only: ask http://%s\n", c.Request.Host, listen)
		c.Abort()
	}
}

// isLoopback says whether a host, with or without a port, is this machine's loopback.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(strings.TrimSuffix(host, "."), "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
