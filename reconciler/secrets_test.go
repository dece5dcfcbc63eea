package reconciler_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
)

// TestASecretsValuesAreShownNowhere looks for planted values in everything that people can read.
func TestASecretsValuesAreShownNowhere(t *testing.T) {
	canaries := []string{"canary-one", "canary-two", "canary-hand", "canary-bad"}
	w := newWorld(t, map[string]string{"s.yaml": secret("s", canaries[0])})
	w.applied("root", "c1")
	two := secret("s", canaries[1]) + fmt.Sprintf("data:\n  more: %s\n", base64.StdEncoding.EncodeToString([]byte(canaries[1])))
	preview := func() {
		plans, err := w.r.Preview(t.Context(), types.NamespacedName{Namespace: "slipway", Name: "root"}, "c2")
		w.must(err)
		text := plans[0].String()
		raw, err := json.Marshal(plans)
		w.must(err)
		w.holdsNone(canaries, "the plan", text+string(raw))
		for _, want := range []string{`data.v: "***" → "***" (changed)`, `data.more: + "***"`} {
			if !strings.Contains(text, want) {
				t.Errorf("the plan does not say %s:\n%s", want, text)
			}
		}
	}
	head := w.repo.head
	w.repo.commit("c2", map[string]string{"s.yaml": two})
	w.repo.mu.Lock()
	w.repo.head = head
	w.repo.mu.Unlock()
	preview()
	w.push("c2", map[string]string{"s.yaml": two})
	w.applied("root", "c2")

	s := &corev1.Secret{}
	key := types.NamespacedName{Namespace: "pp", Name: "s"}
	w.must(w.client.Get(t.Context(), key, s))
	if string(s.Data["v"]) != canaries[1] {
		t.Errorf("the secret holds %q", s.Data["v"])
	}
	s.Data["v"] = []byte(canaries[2])
	w.must(w.client.Update(t.Context(), s))
	w.eventually("the secret is put back", func() error {
		err := w.client.Get(t.Context(), key, s)
		if err == nil && string(s.Data["v"]) != canaries[1] {
			err = fmt.Errorf("it is not")
		}
		return err
	})
	bad := strings.Replace(two, "stringData:", "type: kubernetes.io/tls\nstringData:", 1)
	w.push("c3", map[string]string{"s.yaml": strings.ReplaceAll(bad, canaries[1], canaries[3])})
	w.eventually("a bad one is refused", func() error {
		if app := w.application("root"); len(app.Status.Problems) == 0 {
			return fmt.Errorf("status %+v", app.Status)
		}
		return nil
	})
	for _, list := range []client.ObjectList{&v1alpha1.ApplicationList{}, &v1alpha1.RecordList{}, &corev1.EventList{}} {
		w.must(w.client.List(t.Context(), list))
		raw, err := json.Marshal(list)
		w.must(err)
		w.holdsNone(canaries, fmt.Sprintf("%T", list), string(raw))
	}
}

// TestAnUnapprovedRevisionIsGivenNoValues: who proposes a change sees no value through its
// plan, whatever he turns it into, and still sees what would change, and no more.
func TestAnUnapprovedRevisionIsGivenNoValues(t *testing.T) {
	made := secret("s", "$PASSWORD") + "data: {encoded: $ENCODED}\n"
	w := newWorld(t, map[string]string{"projects/pp/s.yaml": made, "projects/pp/c.yaml": config("c", "user:$PASSWORD"), "projects/pp/d.yaml": config("d", "1")})
	w.applied("pp", "c1")
	w.configIs("pp", "c", "user:"+password)
	head := w.repo.head
	propose := func(commit string, files map[string]string) string {
		w.repo.commit(commit, files)
		w.repo.mu.Lock()
		w.repo.head = head
		w.repo.mu.Unlock()
		plans, err := w.r.Preview(t.Context(), types.NamespacedName{Namespace: "slipway", Name: "root"}, commit)
		w.must(err)
		raw, err := json.Marshal(plans)
		w.must(err)
		text := plans[0].String() + plans[1].String()
		w.holdsNone([]string{password}, commit, text+string(raw))
		return text
	}
	text := propose("curious", map[string]string{
		"projects/pp/s.yaml": made, "projects/pp/c.yaml": config("c", "user:$PASSWORD"), "projects/pp/d.yaml": config("d", "$PASSWORD"), "projects/pp/e.yaml": config("e", "$ENCODED"),
	})
	for _, want := range []string{"+ pp/configmap/e", `data.v: "1" → "stand-in"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan does not say %s:\n%s", want, text)
		}
	}
	for _, same := range []string{"configmap/c", "secret/s"} {
		if strings.Contains(text, same) {
			t.Errorf("%s is as it is live, and is told to change:\n%s", same, text)
		}
	}
	labelled := strings.Replace(made, "metadata:\n", "metadata:\n  labels: {a: b}\n", 1)
	text = propose("honest", map[string]string{"projects/pp/s.yaml": labelled, "projects/pp/c.yaml": config("c", "user:$PASSWORD"), "projects/pp/d.yaml": config("d", "1")})
	if !strings.Contains(text, "labels.a") || strings.Contains(text, " data.") || strings.Contains(text, "configmap/") {
		t.Errorf("a new label comes with\n%s", text)
	}
}

func (w *world) holdsNone(canaries []string, what, text string) {
	w.Helper()
	for _, c := range canaries {
		for _, form := range []string{c, base64.StdEncoding.EncodeToString([]byte(c))} {
			if strings.Contains(text, form) {
				w.Errorf("%s shows %s", what, form)
			}
		}
	}
}

// TestEveryMistakeOfOneApplicationAndNoOthers: what live state refuses is told all at once,
// and stops its own application only.
func TestEveryMistakeOfOneApplicationAndNoOthers(t *testing.T) {
	service := func(port int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: %d}]}\n", port, port)
	}
	w := newWorld(t, map[string]string{
		"projects/good/a.yaml": config("a", "1"),
		"projects/bad/a.yaml":  config("a", "1"), "projects/bad/one.yaml": service(70001), "projects/bad/two.yaml": service(70002),
	})
	w.applied("good", "c1")
	w.eventually("both mistakes are told", func() error {
		s := w.application("bad").Status
		text := fmt.Sprint(s.Problems)
		if !strings.Contains(text, "projects/bad/one.yaml") || !strings.Contains(text, "projects/bad/two.yaml") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if _, err := w.config("bad", "a"); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("bad/a was made beside mistakes: %v", err)
	}
}
