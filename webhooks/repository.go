package webhooks

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
)

// TokenKey is the key of a repository's Secret that signs its hook's calls.
const TokenKey = "token"

// repository answers as a Flux receiver does: 404 where the address leads nowhere
// (also where no secret is set, so that nobody learns which repositories exist), 413
// for a body that is too large, 503 for a suspended repository, 400 for a call that
// is not genuine or not about a push, 200 otherwise.
func (h *hooks) repository(c *gin.Context) {
	key := types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("name")}
	log := h.Log.With("gitrepository", key.String())
	repo, token, err := h.token(c, key)
	switch {
	case err != nil:
		log.Error("hook: live state cannot be read", "error", err)
		c.String(http.StatusInternalServerError, "live state cannot be read\n")
		return
	case repo == nil || len(token) == 0:
		log.Warn("hook refused: no such repository, or its Secret has no key " + TokenKey)
		c.String(http.StatusNotFound, "not found\n")
		return
	}
	content, err := body(c)
	if errors.Is(err, errTooLarge) {
		c.String(http.StatusRequestEntityTooLarge, "%v\n", err)
		return
	}
	if err != nil {
		c.String(http.StatusBadRequest, "the body cannot be read\n")
		return
	}
	call, err := verify(c.Request.Header, content, token)
	if err != nil {
		log.Warn("hook refused", "error", err)
		c.String(http.StatusBadRequest, "%v\n", err)
		return
	}
	if repo.Spec.Suspend {
		c.String(http.StatusServiceUnavailable, "the repository is suspended\n")
		return
	}
	if call.ping {
		c.String(http.StatusOK, "pong\n")
		return
	}
	id := ""
	if call.delivery != "" {
		id = key.String() + " " + call.delivery
	}
	if !h.seen.first(id) {
		log.Info("hook repeated, nothing done", "delivery", call.delivery)
		c.String(http.StatusOK, "seen already\n")
		return
	}
	log.Debug("hook: look now", "host", call.host, "event", call.event)
	h.Refresher.Refresh(key)
	c.String(http.StatusOK, "looking\n")
}

// token reads the repository and the secret of its hook; a nil repository or token is
// one that does not exist, an error is not to know.
func (h *hooks) token(c *gin.Context, key types.NamespacedName) (*v1alpha1.GitRepository, []byte, error) {
	var repo v1alpha1.GitRepository
	if err := h.Client.Get(c.Request.Context(), key, &repo); err != nil {
		return nil, nil, client.IgnoreNotFound(err)
	}
	if repo.Spec.SecretRef == nil {
		return &repo, nil, nil
	}
	var secret corev1.Secret
	name := types.NamespacedName{Namespace: key.Namespace, Name: repo.Spec.SecretRef.Name}
	if err := h.Client.Get(c.Request.Context(), name, &secret); err != nil {
		return &repo, nil, client.IgnoreNotFound(err)
	}
	return &repo, secret.Data[TokenKey], nil
}
