package webhooks

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
)

func repository(name, token string, suspend bool) []client.Object {
	repo := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: v1alpha1.GitRepositorySpec{URL: "https://example.org/x.git", Suspend: suspend, SecretRef: &corev1.LocalObjectReference{Name: name}}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Data: map[string][]byte{"username": []byte("u"), "password": []byte("p")}}
	if token != "" {
		secret.Data[TokenKey] = []byte(token)
	}
	return []client.Object{repo, secret}
}

func TestRepositoryHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(repository("app", "hush", false)...)
	w.create(repository("asleep", "hush", true)...)
	w.create(repository("unset", "", false)...)
	bare := repository("bare", "hush", false)[0].(*v1alpha1.GitRepository)
	bare.Spec.SecretRef = nil
	w.create(bare)
	const body = `{"ref":"refs/heads/main"}`
	good := mac("hush", body)
	for _, c := range []struct {
		name, repo, header string
		code, looks        int
	}{
		{"github", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=" + good, 200, 1},
		{"github ping", "app", "X-GitHub-Event: ping\nX-Hub-Signature-256: sha256=" + good, 200, 0},
		{"github other event", "app", "X-GitHub-Event: issues\nX-Hub-Signature-256: sha256=" + good, 400, 0},
		{"gitea", "app", "X-Gitea-Event: push\nX-GitHub-Event: push\nX-Gitea-Signature: " + good, 200, 1},
		{"gogs", "app", "X-Gogs-Event: push\nX-Gogs-Signature: " + good, 200, 1},
		{"gitlab", "app", "X-Gitlab-Event: Push Hook\nX-Gitlab-Token: hush", 200, 1},
		{"gitlab tag", "app", "X-Gitlab-Event: Tag Push Hook\nX-Gitlab-Token: hush", 200, 1},
		{"bitbucket cloud", "app", "X-Event-Key: repo:push\nX-Hub-Signature: sha256=" + good, 200, 1},
		{"bitbucket server", "app", "X-Event-Key: repo:refs_changed\nX-Hub-Signature: sha256=" + good, 200, 1},
		{"bitbucket ping", "app", "X-Event-Key: diagnostics:ping\nX-Hub-Signature: sha256=" + good, 200, 0},
		{"generic signed", "app", "X-Signature: sha256=" + good, 200, 1},
		{"generic token", "app", "Authorization: Bearer hush", 200, 1},

		{"no signature", "app", "X-GitHub-Event: push", 400, 0},
		{"empty signature", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=", 400, 0},
		{"signature without its name", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: " + good, 400, 0},
		{"sha1", "app", "X-GitHub-Event: push\nX-Hub-Signature: sha1=" + good[:40], 400, 0},
		{"other secret", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=" + mac("other", body), 400, 0},
		{"empty secret", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=" + mac("", body), 400, 0},
		{"signature of another body", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=" + mac("hush", body+" "), 400, 0},
		{"short signature", "app", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=" + good[:62], 400, 0},
		{"gitlab wrong token", "app", "X-Gitlab-Event: Push Hook\nX-Gitlab-Token: hus", 400, 0},
		{"gitlab no token", "app", "X-Gitlab-Event: Push Hook", 400, 0},
		{"generic nothing", "app", "", 400, 0},
		{"generic empty token", "app", "Authorization: Bearer ", 400, 0},
		{"long delivery id", "app", "Authorization: Bearer hush\nX-Delivery-Id: " + strings.Repeat("x", 201), 400, 0},

		{"suspended", "asleep", "Authorization: Bearer hush", 503, 0},
		{"suspended, wrong token", "asleep", "Authorization: Bearer nope", 400, 0},
		{"no token in the secret", "unset", "Authorization: Bearer ", 404, 0},
		{"no secret", "bare", "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=" + mac("", body), 404, 0},
		{"no such repository", "nope", "Authorization: Bearer hush", 404, 0},
	} {
		res := w.post("/hooks/git/shop/"+c.repo, c.header, body)
		if looks := w.looks(); res.Code != c.code || looks != c.looks {
			t.Errorf("%s: %d %s, %d looks; want %d, %d", c.name, res.Code, res.Body, looks, c.code, c.looks)
		}
		if strings.Contains(res.Body.String(), "hush") {
			t.Errorf("%s: the answer holds the secret: %s", c.name, res.Body)
		}
	}
}

func TestRepeatedDeliveryDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(repository("app", "hush", false)...)
	w.create(repository("other", "hush", false)...)
	post := func(repo, id, signature string) int {
		w.post("/hooks/git/shop/"+repo, "X-GitHub-Event: push\nX-GitHub-Delivery: "+id+"\nX-Hub-Signature-256: sha256="+signature, "{}")
		return w.looks()
	}
	good := mac("hush", "{}")
	if post("app", "1", mac("x", "{}")) != 0 || post("app", "1", good) != 1 {
		t.Error("a call that was not genuine used up the id of a genuine one")
	}
	if post("app", "1", good) != 0 {
		t.Error("a repeated call was heeded")
	}
	if post("app", "2", good) != 1 || post("other", "1", good) != 1 {
		t.Error("another call was taken for a repeated one")
	}
}

func TestDeliveriesForgetTheOldest(t *testing.T) {
	t.Parallel()
	d := newDeliveries(2)
	for _, c := range []struct {
		id    string
		first bool
	}{{"a", true}, {"b", true}, {"a", false}, {"c", true}, {"b", false}, {"a", true}, {"", true}, {"", true}} {
		if got := d.first(c.id); got != c.first {
			t.Errorf("%q: first = %v", c.id, got)
		}
	}
	if len(d.set) != 2 {
		t.Errorf("%d are remembered", len(d.set))
	}
}

func TestTheLookIsAtTheAddressedRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(repository("app", "hush", false)...)
	// Whatever the payload names, only the address counts.
	w.post("/hooks/git/shop/app", "Authorization: Bearer hush", `{"repository":{"clone_url":"https://evil.example/x.git"},"after":"`+zeros+`"}`)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.refreshed) != 1 || w.refreshed[0] != (types.NamespacedName{Namespace: "shop", Name: "app"}) {
		t.Errorf("looked at %v", w.refreshed)
	}
}
