package server

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
)

func TestOnlyLoopbackHosts(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	for _, c := range []struct {
		listen, host, path string
		want               int
	}{
		{"127.0.0.1:7080", "127.0.0.1:7080", "/", 200},
		{"127.0.0.1:7080", "localhost:7080", "/api/v1/pods", 200},
		{"127.0.0.1:7080", "slipway.localhost", "/", 200},
		{"[::1]:7080", "[::1]:7080", "/", 200},
		{"127.0.0.1:7080", "[::1]", "/", 200},
		{"localhost:7080", "127.0.0.1:9999", "/", 200},
		{"127.0.0.1:7080", "evil.example.com:7080", "/api/v1/pods", 421},
		{"127.0.0.1:7080", "127.0.0.1.evil.example.com", "/", 421},
		{"127.0.0.1:7080", "xlocalhost", "/", 421},
		{"127.0.0.1:7080", "", "/", 421},
		{"127.0.0.1:7080", "hooks.example.com", "/hooks/git/slipway/root", 200},
		{"127.0.0.1:7080", "hooks.example.com", "/apis/build.openshift.io/v1/namespaces/a/buildconfigs/b/webhooks/s/github", 200},
		{"127.0.0.1:7080", "evil.example.com", "/api/v1/namespaces/webhooks/pods", 421},
		{"0.0.0.0:7080", "slipway.example.com", "/", 200},
		{":7080", "slipway.example.com", "/", 200},
		{"192.0.2.1:7080", "slipway.example.com", "/", 200},
	} {
		e := gin.New()
		e.Use(onlyLoopbackHosts(c.listen))
		e.NoRoute(func(c *gin.Context) { c.Status(http.StatusOK) })
		method := http.MethodGet
		if c.host == "hooks.example.com" {
			method = http.MethodPost
		}
		req := httptest.NewRequest(method, c.path, nil)
		req.Host = c.host
		got := httptest.NewRecorder()
		e.ServeHTTP(got, req)
		if got.Code != c.want {
			t.Errorf("listening on %s, asked for %q %s: %d, want %d", c.listen, c.host, c.path, got.Code, c.want)
		}
	}
}
