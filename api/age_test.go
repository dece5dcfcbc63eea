package api_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

func TestOlder(t *testing.T) {
	t.Parallel()
	at := func(second int, uid types.UID, name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid, CreationTimestamp: metav1.NewTime(time.Date(2026, 5, 1, 12, 0, second, 0, time.UTC))}}
	}
	pods := []*corev1.Pod{at(2, "1", "e"), at(1, "3", "b"), at(1, "2", "d"), at(0, "9", "z"), at(1, "3", "a")}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return api.Older(a, b) })
	var got string
	for _, p := range pods {
		got += p.Name
	}
	if got != "zdabe" {
		t.Errorf("got %q", got)
	}
}
