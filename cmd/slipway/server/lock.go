package server

import (
	"os"

	"slipway.dev/slipway/cmd/slipway/datadir"
)

func lockDir(dir string) (*os.File, error) { return datadir.Lock(dir) }
