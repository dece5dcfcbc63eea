package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/render/secrets"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/statetest"
)

// commits are trees by name; the last one is current.
type commits struct {
	mu    sync.Mutex
	trees map[string]fstest.MapFS // guarded by mu
	head  string                  // guarded by mu
}

func (c *commits) push(name, dir string, files map[string]string) {
	tree := fstest.MapFS{}
	for file, text := range files {
		tree[dir+"/"+file] = &fstest.MapFile{Data: []byte(text)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trees == nil {
		c.trees = map[string]fstest.MapFS{}
	}
	c.trees[name], c.head = tree, name
}

func (c *commits) Revision(ctx context.Context, key types.NamespacedName) (api.Revision, error) {
	c.mu.Lock()
	head := c.head
	c.mu.Unlock()
	return c.RevisionAt(ctx, key, head)
}

func (c *commits) RevisionAt(_ context.Context, key types.NamespacedName, ref string) (api.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return api.Revision{Repository: key.String(), Commit: strings.Repeat(ref, 40)[:40], Message: ref, Author: "Ada", Tree: c.trees[ref]}, nil
}

// openRenderer is the real one, as the server wires it.
type openRenderer struct{ *render.Renderer }

func (r openRenderer) Render(ctx context.Context, x reconciler.Rendering) (api.Desired, error) {
	return r.Renderer.Render(ctx, render.Request(x))
}

// A secret that was encrypted reaches its Secret, and no plan, record, status, event or log:
// neither as it was nor encoded, when it is applied, changed, or wrong.
func TestEncryptedCanaryShowsNowhere(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile("../../render/secrets/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	own, err := secrets.OwnKeys(func(name string) string {
		return map[string]string{secrets.EnvKeyFile: "../../render/secrets/testdata/a.agekey"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	c, logged := statetest.New(t), &lockedBuffer{}
	log := slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	rendered := render.New(render.Options{
		Exe: []string{program(t), "render-child"}, Ledger: ledger.Ledger{Client: c}, Log: log,
		Keyring: secrets.Keyring{Client: c, System: server.System, Own: own},
	})
	t.Cleanup(rendered.Close)
	repo := &commits{}
	r := &reconciler.Reconciler{Client: c, Sources: repo, Render: openRenderer{rendered}, Events: event.New(c, "test", log), Log: log}
	r.Controllers()
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: server.System, Name: "shop"}}
	app.Spec = v1alpha1.ApplicationSpec{SourceRef: v1alpha1.SourceReference{Name: server.Root}, Path: "app", Project: "shop"}
	for _, o := range []client.Object{
		&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: server.System}}, &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, app,
	} {
		if err := c.Create(t.Context(), o); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Fatal(err)
		}
	}
	var shown strings.Builder
	good := read("sealed/secret.yaml")
	for i, s := range []struct{ name, text, password string }{
		{"a", good, "canary-7d1f"},
		{"b", read("sealed/mac-only-encrypted.yaml"), "canary-7d1f"},
		{"c", strings.Replace(good, "team: blue", "team: red", 1), "canary-7d1f"},
		{"d", strings.Replace(good, "kind: Secret", "kind: ConfigMap", 1), "canary-7d1f"},
		{"e", "apiVersion: v1\nkind: Secret\nmetadata: {name: database}\nstringData: {password: canary-plain}\n", "canary-plain"},
	} {
		repo.push(s.name, "app", map[string]string{"secret.yaml": s.text})
		plans, err := r.Preview(t.Context(), types.NamespacedName{Namespace: server.System, Name: server.Root}, s.name)
		fmt.Fprintln(&shown, plans, err)
		key := client.ObjectKeyFromObject(app)
		for range 3 {
			res, err := r.Reconcile(t.Context(), key)
			fmt.Fprintln(&shown, res, err)
		}
		var secret corev1.Secret
		if err := c.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "database"}, &secret); err != nil || string(secret.Data["password"]) != s.password {
			t.Fatalf("%d: the Secret holds %d keys, %v\n%s", i, len(secret.Data), err, shown.String())
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	var events corev1.EventList
	for len(events.Items) == 0 && time.Now().Before(deadline) {
		if err := c.List(t.Context(), &events); err != nil {
			t.Fatal(err)
		}
	}
	var records v1alpha1.RecordList
	var apps v1alpha1.ApplicationList
	for _, list := range []client.ObjectList{&records, &apps, &events} {
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(raw)
	}
	shown.WriteString(logged.String())
	if len(records.Items) == 0 || !strings.Contains(shown.String(), "mac does not fit") {
		t.Errorf("nothing happened: %s", shown.String())
	}
	for _, canary := range []string{"canary", "Y2FuYXJ5", "AGE-SECRET-KEY"} {
		if at := strings.Index(shown.String(), canary); at >= 0 {
			t.Errorf("%s shows: …%s…", canary, shown.String()[max(0, at-200):min(len(shown.String()), at+50)])
		}
	}
}

// lockedBuffer is written by several.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
