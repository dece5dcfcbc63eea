package render_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/state/statetest"
)

// instance is a TemplateInstance with two generated parameters, and the annotation given.
func instance(rotate string) map[string]string {
	if rotate != "" {
		rotate = ", annotations: {slipway.dev/rotate: '" + rotate + "'}"
	}
	return map[string]string{"a.yaml": `apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: db` + rotate + `}
spec:
  template:
    parameters:
    - {name: USER, generate: expression, from: 'user[A-Z]{12}'}
    - {name: PASSWORD, generate: expression, from: '[a-z]{24}'}
    objects:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: db}, data: {user: "${USER}", password: "${PASSWORD}"}}
`}
}

type made struct{ user, password string }

func generated(t *testing.T, r *render.Renderer, rotate string) made {
	t.Helper()
	got, err := r.Render(t.Context(), render.Request{Tree: tree(instance(rotate)), Project: "shop", Application: "shop/app", Persist: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range got.Objects {
		if o.GetKind() == "ConfigMap" {
			data := o.Object["data"].(map[string]any)
			return made{data["user"].(string), data["password"].(string)}
		}
	}
	t.Fatal("no object")
	return made{}
}

// A generated value changes with a commit that says so, and with nothing else; a revert
// brings the old one back.
func TestRotation(t *testing.T) {
	c := statetest.New(t)
	r := newRenderer(t, render.Options{Ledger: ledger.Ledger{Client: c}})
	first := generated(t, r, "")
	if again := generated(t, newRenderer(t, render.Options{Ledger: ledger.Ledger{Client: c}}), ""); again != first {
		t.Fatal("a value changed by itself")
	}
	all := generated(t, r, "2026-03")
	if all.user == first.user || all.password == first.password || generated(t, r, "2026-03") != all {
		t.Errorf("rotated: %v, then %v", first, all)
	}
	one := generated(t, r, "2026-03,PASSWORD=2")
	if one.user != all.user || one.password == all.password || one.password == first.password {
		t.Errorf("one rotated: %v, then %v", all, one)
	}
	if only := generated(t, r, "PASSWORD=2"); only.user != first.user || only.password != one.password {
		t.Errorf("only one: %v", only)
	}
	if back := generated(t, r, ""); back != first {
		t.Errorf("a revert gives %v, not %v", back, first)
	}
	for rotate, want := range map[string]string{
		"a b":          `a.yaml:3: shop/templateinstance/db: metadata.annotations[slipway.dev/rotate]: Invalid value: "a b": "a b" must be a word`,
		"PASWORD=2":    `a.yaml:3: shop/templateinstance/db: metadata.annotations[slipway.dev/rotate]: Not found: "PASWORD"`,
		"a,b":          `parameter "" is given twice`,
		"-=1":          `"-=1" is not PARAMETER=WORD`,
		"PASSWORD=a/b": `"a/b" must be a word`,
	} {
		_, err := r.Render(t.Context(), render.Request{Tree: tree(instance(rotate)), Project: "shop", Application: "shop/app"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", rotate, err, want)
		}
	}
	var s corev1.Secret
	if err := c.Get(t.Context(), ledger.Key("shop/app", "templateinstance/shop/db"), &s); err != nil {
		t.Fatal(err)
	}
	if n := len(ledger.Made(&s)); n != 5 || len(s.Data) != 5 {
		t.Errorf("%d values are kept, %d times: %v", len(s.Data), n, s.Annotations)
	}
}

// Whether a process dies before or after the ledger is written, the next one ends with one
// value, and nobody ever saw another.
func TestDeathAroundTheLedger(t *testing.T) {
	death := errors.New("the process died")
	for _, c := range []struct {
		name   string
		rotate string
		after  bool
	}{{"before the first write", "", false}, {"after the first write", "", true}, {"before a rotation's write", "2", false}, {"after a rotation's write", "2", true}} {
		t.Run(c.name, func(t *testing.T) {
			live := statetest.New(t)
			if c.rotate != "" {
				generated(t, newRenderer(t, render.Options{Ledger: ledger.Ledger{Client: live}}), "")
			}
			dying := interceptor.NewClient(live, interceptor.Funcs{
				Create: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					if c.after {
						return errors.Join(w.Create(ctx, o, opts...), death)
					}
					return death
				},
				Update: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
					if c.after {
						return errors.Join(w.Update(ctx, o, opts...), death)
					}
					return death
				},
			})
			r := newRenderer(t, render.Options{Ledger: ledger.Ledger{Client: dying}})
			q := render.Request{Tree: tree(instance(c.rotate)), Project: "shop", Application: "shop/app", Persist: true}
			if got, err := r.Render(t.Context(), q); err == nil || len(got.Objects) > 0 {
				t.Fatalf("%d objects, %v", len(got.Objects), err)
			}
			key := ledger.Key("shop/app", "templateinstance/shop/db")
			var before, after corev1.Secret
			err := live.Get(t.Context(), key, &before)
			wrote := err == nil && (c.rotate == "" || len(before.Data) == 4)
			if wrote != c.after {
				t.Fatalf("written: %v (%v)", wrote, err)
			}
			next := generated(t, newRenderer(t, render.Options{Ledger: ledger.Ledger{Client: live}}), c.rotate)
			if err := live.Get(t.Context(), key, &after); err != nil {
				t.Fatal(err)
			}
			word := ""
			if c.rotate != "" {
				word = "." + c.rotate
			}
			if kept := string(after.Data["PASSWORD"+word]); kept != next.password {
				t.Errorf("rendered %q, kept %q", next.password, kept)
			}
			if c.after && string(before.Data["PASSWORD"+word]) != next.password {
				t.Error("what was written is not what is used")
			}
		})
	}
}
