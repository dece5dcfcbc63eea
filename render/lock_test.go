package render

import (
	"encoding/json"
	"testing"

	"slipway.dev/slipway/render/document"
)

func FuzzLock(f *testing.F) {
	f.Add(`{"images": {"web:live": {"from": "dev/web", "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000", "tag": "v1"}}}`)
	f.Add(`{"images": {"web": 3, ":": {"from": "/"}}, "x": []}`)
	f.Fuzz(func(t *testing.T, text string) {
		docs, _ := document.Parse(lockFile, []byte(text))
		for _, d := range docs {
			lock, problems := readLock(d.Object)
			if len(problems) > 0 {
				continue
			}
			for key, image := range lock.Images {
				if !lockKey.MatchString(key) || !lockDigest.MatchString(image.Digest) {
					t.Errorf("%q, %q are taken", key, image.Digest)
				}
			}
			if _, err := json.Marshal(lock); err != nil {
				t.Error(err)
			}
		}
	})
}
