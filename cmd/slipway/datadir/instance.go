package datadir

import (
	"path/filepath"
	"strconv"
)

// Instance tells the containers of a data directory from those of another one on the
// same engine.
func Instance(dir string) string {
	h := uint32(2166136261)
	for _, b := range []byte(dir) {
		h = (h ^ uint32(b)) * 16777619
	}
	return filepath.Base(dir) + "-" + strconv.FormatUint(uint64(h), 16)
}
