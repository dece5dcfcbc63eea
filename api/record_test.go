package api_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	at := func(second int, version string) v1alpha1.Record {
		r := v1alpha1.Record{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
		r.Spec.Started = metav1.NewTime(time.Date(2026, 5, 1, 12, 0, second, 0, time.UTC))
		return r
	}
	records := []v1alpha1.Record{at(1, "9"), at(2, "7"), at(2, "10"), at(3, "2"), at(2, "")}
	api.NewestFirst(records)
	var got string
	for _, r := range records {
		got += r.ResourceVersion + " "
	}
	if got != "2 10 7  9 " {
		t.Errorf("got %q", got)
	}
}
