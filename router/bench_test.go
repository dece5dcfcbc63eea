package router

import (
	"net/http"
	"testing"
)

// BenchmarkProxy measures a small request through the router, with the gin engine in
// front as it is served, and without it.
func BenchmarkProxy(b *testing.B) {
	e := startEdge(b)
	e.backends("shop/web", startPod(b, "a", "127.0.0.2", nil, nil), startPod(b, "b", "127.0.0.3", nil, nil))
	e.route("shop/web", "h.example.com", note(annotationCookies, "true"))
	e.apply()
	p := &proxy{router: e.Router}
	p.reverse = newReverse(p)
	bare := startPod(b, "bare", "127.0.0.4", p.serve, nil)
	for name, url := range map[string]string{"gin": "http://" + e.HTTPAddr().String(), "bare": "http://" + bare.addr.String()} {
		b.Run(name, func(b *testing.B) {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer c.CloseIdleConnections()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if r, err := e.try(c, "GET", url, nil, "Host", "h.example.com"); err != nil || r.status != 200 {
						b.Fatalf("%v %+v", err, r)
					}
				}
			})
		})
	}
}
