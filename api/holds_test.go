package api

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

var someDigest = "sha256:" + strings.Repeat("ab", 32)

func TestHoldsAreReadStrictly(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		``:                                       "",
		`[]`:                                     "",
		`[{"digest": "` + someDigest + `"}]`:     "",
		`[{"digset": "` + someDigest + `"}]`:     "unknown field",
		`[{"reason": "it is bad"}]`:              "must name what is held",
		`[{"commit": "main"}]`:                   "must be a whole commit hash",
		`[] []`:                                  "content after their end",
		`{"digest": "` + someDigest + `"}`:       "cannot unmarshal object",
		`[{"digest": "sha256:1"}]`:               "must be sha256",
		`[` + strings.Repeat(" ", 300<<10) + `]`: "longer than",
	} {
		_, err := ParseHolds([]byte(content))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", content, err, want)
		}
	}
}

func TestHoldsComeBackAsWritten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	until := metav1.NewTime(now.Add(time.Hour))
	written, err := FormatHolds([]v1alpha1.Hold{{Digest: someDigest, Reason: "leaks <memory>", Until: &until}})
	if err != nil {
		t.Fatal(err)
	}
	holds, err := HoldsIn(fstest.MapFS{"projects/shop/" + HoldsFile: {Data: written}}, "projects/shop")
	if err != nil || len(holds) != 1 || holds[0].Reason != "leaks <memory>" {
		t.Fatalf("%+v, %v", holds, err)
	}
	if _, held := HeldDigest(holds, someDigest, now); !held {
		t.Error("it does not hold before its end")
	}
	if _, held := HeldDigest(holds, someDigest, until.Time); held {
		t.Error("it holds at its end")
	}
	if holds, err := HoldsIn(fstest.MapFS{}, ""); err != nil || holds != nil {
		t.Errorf("no file: %v, %v", holds, err)
	}
}
