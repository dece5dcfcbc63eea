package registry

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkManifestPut pushes small manifests, each with a tag, from several clients.
func BenchmarkManifestPut(b *testing.B) {
	c := start(b, Options{})
	m := c.image("p/s", "x")
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := append(bytes.TrimSuffix(m, []byte("}")), fmt.Appendf(nil, `,"annotations":{"n":"%d"}}`, n.Add(1))...)
			if a := c.do("PUT", fmt.Sprintf("/v2/p/s/manifests/t%d", n.Load()), bytes.NewReader(body), "Content-Type", typeOCIManifest); a.status != 201 {
				b.Fatalf("%d %s", a.status, a.body)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
}

// BenchmarkBlobGet reads a blob of 64 MiB.
func BenchmarkBlobGet(b *testing.B) {
	c := start(b, Options{})
	content := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	path := "/v2/p/s/blobs/" + c.blob("p/s", content).Digest
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		c.want(200, "GET", path, nil)
	}
}
