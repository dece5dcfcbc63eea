package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"slipway.dev/slipway/api"
)

// depends is what of the tree a render looked at.
func depends(dir string, t *tree) api.Depends {
	files := slices.Collect(maps.Keys(t.digests))
	for name := range t.refusals {
		if _, read := t.digests[name]; !read {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return api.Depends{Files: files, Folders: []string{dir}}
}

// identity is a hash of everything that a render's objects follow from: this program, the
// request, what was read, the generated values.
func identity(q Request, dir string, reads map[string]string, values map[string]map[string]string) string {
	read := map[string]string{}
	for name, digest := range reads {
		if digest != "" {
			read[name] = digest
		}
	}
	// Maps are written in the order of their keys.
	raw, err := json.Marshal([]any{program(), q.Application, q.Project, dir, q.Parameters, q.Conceal, read, values})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// program tells builds of this program apart: another one may render otherwise.
var program = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.String()
})
