package webhooks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	buildv1 "github.com/openshift/api/build/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/statetest"
)

// world is the hooks over a live state, and what they asked for.
type world struct {
	t      *testing.T
	client client.WithWatch
	router *gin.Engine

	mu        sync.Mutex
	builds    []*buildv1.BuildRequest
	refreshed []types.NamespacedName
	// fail is what Instantiate answers.
	fail error
}

func (w *world) Instantiate(_ context.Context, key types.NamespacedName, req *buildv1.BuildRequest) (*buildv1.Build, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return nil, w.fail
	}
	w.builds = append(w.builds, req)
	return &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name + "-1"}}, nil
}

func (w *world) Refresh(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refreshed = append(w.refreshed, key)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	w := &world{t: t, client: statetest.New(t), router: gin.New()}
	Register(w.router, Deps{Client: w.client, Builder: w, Refresher: w})
	return w
}

func (w *world) create(objs ...client.Object) {
	w.t.Helper()
	for _, o := range objs {
		if err := w.client.Create(context.Background(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// post calls the hooks; header is `Name: value` lines.
func (w *world) post(path, header, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for line := range strings.SplitSeq(header, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	res := httptest.NewRecorder()
	w.router.ServeHTTP(res, req)
	return res
}

// taken is the builds asked for since the last call.
func (w *world) taken() []*buildv1.BuildRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.builds
	w.builds = nil
	return b
}

func (w *world) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.refreshed)
	w.refreshed = nil
	return n
}

func mac(secret, body string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}
