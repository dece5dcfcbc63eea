package read

import (
	"strings"
	"testing"
	"time"

	"slipway.dev/slipway/dashboard"
	"slipway.dev/slipway/dashboard/dashboardtest"
	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/state/statetest"
)

// What was generated is listed, and its values are not.
func TestParameters(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	server := dashboardtest.Serve(t, c, dashboard.Options{})
	if out, errOut, err := run(t, server, "parameters"); err != nil || out != "" || !strings.Contains(errOut, "No parameter") {
		t.Errorf("%s%s%v", out, errOut, err)
	}
	for _, k := range []struct {
		age                   time.Duration
		application, instance string
		key                   string
	}{
		{50 * time.Hour, "slipway/shop", "templateinstance/shop/db", "PASSWORD"},
		{2 * time.Hour, "slipway/shop", "templateinstance/shop/db", "PASSWORD.2026-03"},
		{time.Hour, "slipway/bank", "template/bank/vault", "KEY"},
	} {
		l := ledger.Ledger{Client: c, Clock: func() time.Time { return time.Now().Add(-k.age) }}
		if err := l.Keep(t.Context(), k.application, k.instance, map[string]string{k.key: "canary-value"}); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{
		"parameters": "PROJECT   APPLICATION    INSTANCE              PARAMETER   ROTATION   AGE\n" +
			"bank      slipway/bank   template/vault        KEY         -          60m\n" +
			"shop      slipway/shop   templateinstance/db   PASSWORD    -          2d2h\n" +
			"shop      slipway/shop   templateinstance/db   PASSWORD    2026-03    120m\n",
		"parameters -n bank":      "PROJECT   APPLICATION    INSTANCE         PARAMETER   ROTATION   AGE\nbank      slipway/bank   template/vault   KEY         -          60m\n",
		"parameters shop -o json": `"rotation": "2026-03"`,
		"parameters nobody":       "",
	} {
		out, errOut, err := run(t, server, strings.Fields(args)...)
		if err != nil || !strings.Contains(out, want) || strings.Contains(out+errOut, "canary") || strings.Contains(out, "Y2FuYXJ5") {
			t.Errorf("%s: %v\n%s%s", args, err, out, errOut)
		}
	}
	if _, _, err := run(t, server, "parameters", "-o", "xml"); err == nil {
		t.Error("-o xml is taken")
	}
}
