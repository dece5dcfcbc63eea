package runtime_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/image"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/runtime/scratch"
)

// private is a registry with one image, which who knows the password may have.
type private struct {
	name     string
	content  map[string][]byte // by path
	types    map[string]string
	refusals atomic.Int32
}

func newPrivate(t *testing.T) *private {
	t.Helper()
	files, err := scratch.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	config := scratch.BusyboxConfig
	config.Labels = map[string]string{"slipway.dev/test": rand.Text()}
	archive, _, err := scratch.Archive("any:1", files, config)
	if err != nil {
		t.Fatal(err)
	}
	p := &private{content: map[string][]byte{}, types: map[string]string{}}
	blob := func(kind string, b []byte) map[string]any {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
		p.content["/v2/shop/web/blobs/"+digest] = b
		return map[string]any{"mediaType": kind, "digest": digest, "size": len(b)}
	}
	manifest := map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		b, readErr := io.ReadAll(r)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		switch {
		case h.Name == "layer.tar":
			manifest["layers"] = []any{blob("application/vnd.docker.image.rootfs.diff.tar.gzip", b)}
		case h.Name != "manifest.json":
			manifest["config"] = blob("application/vnd.docker.container.image.v1+json", b)
		}
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"1", fmt.Sprintf("sha256:%x", sha256.Sum256(b))} {
		p.content["/v2/shop/web/manifests/"+ref] = b
		p.types["/v2/shop/web/manifests/"+ref] = manifest["mediaType"].(string)
	}
	p.content["/v2/"] = []byte("{}")
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.name = strings.TrimPrefix(s.URL, "http://")
	return p
}

func (p *private) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if user != "cook" || password != "s3cret" {
		if ok {
			p.refusals.Add(1)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b, found := p.content[r.URL.Path]
	if !found {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if kind := p.types[r.URL.Path]; kind != "" {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(b)))
	}
	_, _ = w.Write(b)
}

// TestPrivateImagesArePulledWithTheirSecrets: of a secret's entries the one that says most
// about the image is tried first, and the next where that does not help.
func TestPrivateImagesArePulledWithTheirSecrets(t *testing.T) {
	t.Parallel()
	docker, hub := enginetest.Client(t), newPrivate(t)
	ref := hub.name + "/shop/web:1"
	t.Cleanup(func() {
		if _, err := docker.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	l := newLabOn(t, docker) // It is cleared before the image is.
	auths := fmt.Sprintf(`{"auths":{"http://%[1]s":{"username":"cook","password":"s3cret"},"%[1]s/shop":{"username":"cook","password":"old"}}}`, hub.name)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hub"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(auths)},
	}
	if err := l.client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c := sh(forever)
	c.Image, c.ImagePullPolicy = ref, corev1.PullAlways
	l.pod("nobody", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.until("nobody", "ImagePullBackOff", func(p *corev1.Pod) bool { return waits(p, "ImagePullBackOff") })
	l.poll("event Failed", l.event("nobody", "Failed"), nothing)
	if err := l.client.Delete(t.Context(), l.get("nobody")); err != nil {
		t.Fatal(err)
	}
	l.pod("cook", corev1.PodSpec{Containers: []corev1.Container{c}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "missing"}, {Name: "hub"}}})
	l.until("cook", "ready", ready)
	l.poll("the secret that is not there is told", l.event("cook", "FailedToRetrieveImagePullSecret"), nothing)
	if hub.refusals.Load() == 0 {
		t.Error("the entry for the path was not tried first")
	}
}
