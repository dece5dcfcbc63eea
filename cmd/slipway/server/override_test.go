package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

// told keeps events.
type told struct {
	mu   sync.Mutex
	said []string
}

func (t *told) Event(_ client.Object, _, reason, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, reason+" "+fmt.Sprintf(format, args...))
}

// glass is a server that takes overrides, and somebody who may sign them.
type glass struct {
	*testing.T
	client *state.Client
	events told
	key    ssh.Signer
	now    time.Time
	engine *gin.Engine
}

var quiet = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

func newGlass(t *testing.T) *glass {
	t.Parallel()
	quiet()
	g := &glass{T: t, client: statetest.New(t), key: newKey(t), now: time.Now(), engine: gin.New()}
	s := &overrides{client: g.client, events: &g.events, log: slog.New(slog.NewTextHandler(t.Output(), nil)), now: func() time.Time { return g.now }}
	s.register(g.engine)
	g.create(&v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "shop"}})
	owned := map[string]string{reconciler.OwnerName: "shop", reconciler.OwnerNamespace: "slipway"}
	g.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "page", Labels: owned}})
	g.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "foreign"}})
	return g
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (g *glass) create(o client.Object) {
	g.Helper()
	if err := g.client.Create(context.Background(), o); err != nil {
		g.Fatal(err)
	}
}

// allow says who may sign.
func (g *glass) allow() {
	g.Helper()
	g.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: api.SystemProject, Name: api.OverrideSigners},
		Data:       map[string][]byte{"allowed_signers": append([]byte("ada@example.com "), ssh.MarshalAuthorizedKey(g.key.PublicKey())...)},
	})
}

func sign(t *testing.T, key ssh.Signer, message []byte) string {
	t.Helper()
	sig, err := sshsig.Sign(bytes.NewReader(message), key, sshsig.HashSHA512, api.OverrideNamespace)
	if err != nil {
		t.Fatal(err)
	}
	return string(sshsig.Armor(sig))
}

func (g *glass) override(change func(*v1alpha1.Override)) *v1alpha1.Override {
	g.Helper()
	o := &v1alpha1.Override{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway"}}
	o.Spec = v1alpha1.OverrideSpec{
		Application: "shop", Object: v1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "page"},
		Owner: "Ada <ada@example.com>", Reason: "fire", Until: metav1.NewTime(g.now.Add(time.Hour).Truncate(time.Second)),
	}
	o.Spec.Patch.Raw = []byte(`{"data": {"v": "5"}}`)
	if change != nil {
		change(o)
	}
	message, err := api.OverrideMessage(o)
	if err != nil {
		g.Fatal(err)
	}
	o.Spec.Signature = sign(g.T, g.key, message)
	return o
}

func (g *glass) post(path string, body any) (int, string) {
	g.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		g.Fatal(err)
	}
	req := httptest.NewRequestWithContext(g.Context(), http.MethodPost, path, bytes.NewReader(data))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	g.engine.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func (g *glass) said(part string) bool {
	g.events.mu.Lock()
	defer g.events.mu.Unlock()
	return strings.Contains(strings.Join(g.events.said, "\n"), part)
}

func TestNobodyMayOverrideWhereNoSignersAre(t *testing.T) {
	g := newGlass(t)
	if code, text := g.post("/slipway/v1/overrides", g.override(nil)); code != http.StatusForbidden || !strings.Contains(text, "overrides are disabled") {
		t.Errorf("%d %s", code, text)
	}
	if !g.said("OverrideRefused of shop/ConfigMap/page by Ada <ada@example.com>: overrides are disabled") {
		t.Errorf("said %q", g.events.said)
	}
}

func TestOnlyGoodOverridesAreTaken(t *testing.T) {
	g := newGlass(t)
	g.allow()
	for name, c := range map[string]struct {
		change, after func(*v1alpha1.Override)
		code          int
		want          string
	}{
		"changed after it was signed": {nil, func(o *v1alpha1.Override) { o.Spec.Patch.Raw = []byte(`{"data": {"v": "6"}}`) }, 403, "signature"},
		"for longer than was signed":  {nil, func(o *v1alpha1.Override) { o.Spec.Until = metav1.NewTime(o.Spec.Until.Add(time.Hour)) }, 403, "signature"},
		"by another key": {nil, func(o *v1alpha1.Override) {
			message, _ := api.OverrideMessage(o)
			o.Spec.Signature = sign(t, newKey(t), message)
		}, 403, "not among the allowed signers"},
		"as somebody else":    {func(o *v1alpha1.Override) { o.Spec.Owner = "Bo <bo@example.com>" }, nil, 403, "may not sign as bo@example.com"},
		"without an address":  {func(o *v1alpha1.Override) { o.Spec.Owner = "Ada" }, nil, 403, "address in angle brackets"},
		"expired":             {func(o *v1alpha1.Override) { o.Spec.Until = metav1.NewTime(g.now.Add(-time.Second)) }, nil, 422, "ended at"},
		"for ever":            {func(o *v1alpha1.Override) { o.Spec.Until = metav1.NewTime(g.now.Add(8 * 24 * time.Hour)) }, nil, 422, "lasts 7 days at most"},
		"without an end":      {func(o *v1alpha1.Override) { o.Spec.Until = metav1.Time{} }, nil, 422, "ended at"},
		"without a reason":    {func(o *v1alpha1.Override) { o.Spec.Reason = "" }, nil, 422, "spec.reason"},
		"of no application":   {func(o *v1alpha1.Override) { o.Spec.Application = "none" }, nil, 422, "there is no application"},
		"of no object":        {func(o *v1alpha1.Override) { o.Spec.Object.Name = "none" }, nil, 422, "there is no shop/ConfigMap/none"},
		"of no kind":          {func(o *v1alpha1.Override) { o.Spec.Object.Kind = "None" }, nil, 422, "there is no shop/None/page"},
		"of a foreign object": {func(o *v1alpha1.Override) { o.Spec.Object.Name = "foreign" }, nil, 422, "is not of application shop"},
		"of the name":         {func(o *v1alpha1.Override) { o.Spec.Patch.Raw = []byte(`{"metadata": {"name": "x"}}`) }, nil, 422, "only labels and annotations"},
		"of the status":       {func(o *v1alpha1.Override) { o.Spec.Patch.Raw = []byte(`{"status": {}}`) }, nil, 422, "only spec, data"},
		"of nothing":          {func(o *v1alpha1.Override) { o.Spec.Patch.Raw = []byte(`{}`) }, nil, 422, "patch"},
		"that is not valid":   {func(o *v1alpha1.Override) { o.Spec.Patch.Raw = []byte(`{"data": {"not valid!": "x"}}`) }, nil, 422, "data"},
		"of the signers": {func(o *v1alpha1.Override) {
			o.Spec.Object = v1alpha1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "slipway", Name: "override-signers"}
		}, nil, 403, "not a thing to override"},
	} {
		o := g.override(c.change)
		if c.after != nil {
			c.after(o)
		}
		if code, text := g.post("/slipway/v1/overrides", o); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d and %q", name, code, text, c.code, c.want)
		}
	}
	var list v1alpha1.OverrideList
	if err := g.client.List(t.Context(), &list); err != nil || len(list.Items) > 0 {
		t.Errorf("taken all the same: %+v, %v", list.Items, err)
	}
}

func TestAnOverrideIsGoodOnceAndEnds(t *testing.T) {
	g := newGlass(t)
	g.allow()
	o := g.override(nil)
	code, text := g.post("/slipway/v1/overrides", o)
	var taken OverrideAnswer
	if err := json.Unmarshal([]byte(text), &taken); code != http.StatusOK || err != nil || !strings.HasPrefix(taken.Signer, "ada@example.com (SHA256:") {
		t.Fatalf("%d %s, %v", code, text, err)
	}
	if !g.said("OverrideAccepted " + taken.Name + " shop/ConfigMap/page until ") {
		t.Errorf("said %q", g.events.said)
	}
	if code, text := g.post("/slipway/v1/overrides", o); code != http.StatusConflict {
		t.Errorf("again: %d %s", code, text)
	}

	ends := "/slipway/v1/overrides/slipway/" + taken.Name + "/end"
	good := OverrideEnd{"Ada <ada@example.com>", sign(t, g.key, api.OverrideEndMessage("slipway", taken.Name))}
	for name, c := range map[string]struct {
		path string
		by   OverrideEnd
		code int
	}{
		"of another":   {"/slipway/v1/overrides/slipway/other/end", good, 403},
		"by nobody":    {ends, OverrideEnd{good.Owner, ""}, 403},
		"by a foreign": {ends, OverrideEnd{good.Owner, sign(t, newKey(t), api.OverrideEndMessage("slipway", taken.Name))}, 403},
	} {
		if code, text := g.post(c.path, c.by); code != c.code {
			t.Errorf("end %s: %d %s", name, code, text)
		}
	}
	for range 2 {
		if code, text := g.post(ends, good); code != http.StatusOK {
			t.Errorf("end: %d %s", code, text)
		}
	}
	var live v1alpha1.Override
	if err := g.client.Get(t.Context(), client.ObjectKey{Namespace: "slipway", Name: taken.Name}, &live); err != nil || !meta.IsStatusConditionTrue(live.Status.Conditions, v1alpha1.OverrideEnded) {
		t.Errorf("%+v, %v", live.Status, err)
	}
	// Ended, it does not come back by being sent again.
	if code, text := g.post("/slipway/v1/overrides", o); code != http.StatusConflict {
		t.Errorf("after its end: %d %s", code, text)
	}
}

func TestOverridesAreNotSentByPages(t *testing.T) {
	g := newGlass(t)
	g.allow()
	data, err := json.Marshal(g.override(nil))
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/slipway/v1/overrides", bytes.NewReader(data))
	req.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	g.engine.ServeHTTP(w, req)
	if w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if code, text := g.post("/slipway/v1/overrides", strings.Repeat("x", 100<<10)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long one: %d %s", code, text)
	}
}
