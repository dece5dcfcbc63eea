package dns

import (
	"testing"

	"slipway.dev/slipway/network/networktest"
)

func TestMain(m *testing.M) { networktest.Main(m) }
