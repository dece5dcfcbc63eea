package server

import (
	"context"
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// refresher has whoever leads look at a repository.
type refresher struct{ *server }

// Refresh implements webhooks.Refresher. Where servers share an etcd another one may lead: it finds the request
// in live state.
func (r refresher) Refresh(key types.NamespacedName) {
	r.parts.sources.Refresh(key)
	if len(r.cfg.Etcd) == 0 {
		return
	}
	if err := r.request(key); err != nil {
		r.log.Warn("the server that leads is not told of a commit, and looks at its interval only", "gitrepository", key.String(), "error", err)
	}
}

// requestTimeout bounds how long a hook waits for live state.
const requestTimeout = 5 * time.Second

func (r refresher) request(key types.NamespacedName) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{api.RequestedAt: time.Now().UTC().Format(time.RFC3339Nano)}}})
	if err != nil {
		return err
	}
	repo := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	return r.client.Patch(ctx, repo, client.RawPatch(types.MergePatchType, patch))
}
