package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	templatev1 "github.com/openshift/api/template/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
)

const (
	asTable = "application/json;as=Table;v=v1;g=meta.k8s.io"
	plain   = "application/json"
)

// TestNoSecretLeaves looks for canaries in every representation of every kind.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	url, c := served(t)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "copied", Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: `{"data":{"a":"canary"}}`}},
		Data:       map[string][]byte{"a": []byte("canary-in-bytes"), "empty": nil},
	}
	template := &templatev1.Template{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "holds"}, Objects: []runtime.RawExtension{
		{Raw: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"stringData":{"a":"canary-in-template"},"data":{"b":"Y2FuYXJ5"}}`)},
		{Raw: []byte(`{"apiVersion":"build.openshift.io/v1","kind":"BuildConfig","metadata":{"name":"x"},"spec":{"triggers":[{"type":"GitHub","github":{"secret":"canary-hook"}}]}}`)},
	}}
	if err := c.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), template); err != nil {
		t.Fatal(err)
	}
	for _, k := range api.Kinds() {
		t.Run(k.Resource, func(t *testing.T) {
			t.Parallel()
			noCanary(t, url, k)
		})
	}
	var got corev1.Secret
	_, body := fetch(t, http.MethodGet, url+"/api/v1/namespaces/shop-dev/secrets/copied")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if string(got.Data["a"]) != "masked" || string(got.Data["empty"]) != "masked" || len(got.ManagedFields) > 0 {
		t.Errorf("the mask is not the same for all values: %s", body)
	}
	for _, oracle := range []string{
		"/api/v1/secrets?fieldSelector=data.a%3Dx",
		"/api/v1/secrets?fieldSelector=metadata.annotations.x%3Dx",
		"/apis/build.openshift.io/v1/buildconfigs?watch=true&fieldSelector=spec.triggers%3Dx",
	} {
		if res, _ := fetch(t, http.MethodGet, url+oracle); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s: what is masked can be asked for", oracle, res.Status)
		}
	}
}

func noCanary(t *testing.T, url string, k api.Kind) {
	t.Helper()
	base := "/apis/" + k.Group + "/" + k.Version + "/"
	if k.Group == "" {
		base = "/api/" + k.Version + "/"
	}
	for _, accept := range []string{plain, asTable} {
		_, list := fetch(t, http.MethodGet, url+base+k.Resource+"?includeObject=Object", "Accept", accept)
		if !strings.Contains(list, `"kind":`) {
			t.Errorf("list as %s: %s", accept, list)
		}
		watched := existing(t, url+base+k.Resource+"?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&includeObject=Object", accept)
		for _, body := range []string{list, watched} {
			for _, leak := range []string{"canary", "Y2FuYXJ5", "tr0ub4dor", "dHIwdWI0ZG9y"} {
				if strings.Contains(body, leak) {
					t.Errorf("%s as %s holds %s:\n%s", k.Resource, accept, leak, body)
				}
			}
		}
	}
}

// existing is what a watch sends up to its first bookmark.
func existing(t *testing.T, url, accept string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var all strings.Builder
	for lines := bufio.NewReader(res.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%s ended before its bookmark: %v\n%s", url, err, all.String())
		}
		all.WriteString(line)
		if strings.HasPrefix(line, `{"type":"BOOKMARK"`) {
			return all.String()
		}
	}
}

// TestNothingWrites tries every writing verb on every path of every kind.
func TestNothingWrites(t *testing.T) {
	t.Parallel()
	url, _ := served(t)
	for _, k := range api.Kinds() {
		base := "/apis/" + k.Group + "/" + k.Version + "/"
		if k.Group == "" {
			base = "/api/" + k.Version + "/"
		}
		paths := []string{base + k.Resource}
		if k.Namespaced {
			paths = append(paths, base+"namespaces/a/"+k.Resource, base+"namespaces/a/"+k.Resource+"/b", base+"namespaces/a/"+k.Resource+"/b/status")
		} else {
			paths = append(paths, base+k.Resource+"/b", base+k.Resource+"/b/status")
		}
		for _, path := range paths {
			for _, verb := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
				res, body := fetch(t, verb, url+path)
				var s metav1.Status
				if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != http.StatusMethodNotAllowed || s.Kind != "Status" || !strings.Contains(s.Message, "git") {
					t.Errorf("%s %s: %s %s", verb, path, res.Status, body)
				}
			}
		}
	}
}

func TestErrorsAreStatuses(t *testing.T) {
	t.Parallel()
	url, _ := served(t)
	for path, code := range map[string]int{
		"/api/v1/namespaces/shop-dev/pods/nobody":                                http.StatusNotFound,
		"/api/v1/namespaces/nobody":                                              http.StatusNotFound,
		"/api/v1/wheels":                                                         http.StatusNotFound,
		"/openapi/v3":                                                            http.StatusNotFound,
		"/api/v1/pods?limit=-1":                                                  http.StatusBadRequest,
		"/api/v1/pods?limit=x":                                                   http.StatusBadRequest,
		"/api/v1/pods?continue=x":                                                http.StatusBadRequest,
		"/api/v1/pods?labelSelector=%3D%3D":                                      http.StatusBadRequest,
		"/api/v1/pods?fieldSelector=a%3E1":                                       http.StatusBadRequest,
		"/api/v1/pods?watch=maybe":                                               http.StatusBadRequest,
		"/api/v1/pods?watch=1&resourceVersion=x":                                 http.StatusBadRequest,
		"/api/v1/pods?resourceVersionMatch=Exact&resourceVersion=1":              http.StatusBadRequest,
		"/api/v1/pods?includeObject=Half":                                        http.StatusBadRequest,
		"/api/v1/namespaces/shop-dev/pods/nobody/log":                            http.StatusNotFound,
		"/api/v1/namespaces/shop-dev/pods/frontend-7-4kx2p/log?container=x":      http.StatusBadRequest,
		"/api/v1/namespaces/shop-dev/pods/frontend-7-4kx2p/log?tailLines=-1":     http.StatusBadRequest,
		"/api/v1/namespaces/shop-dev/pods/frontend-7-4kx2p/log?follow=maybe":     http.StatusBadRequest,
		"/apis/build.openshift.io/v1/namespaces/shop-dev/builds/nobody/log":      http.StatusNotFound,
		"/api/v1/namespaces/shop-dev/pods/frontend-7-4kx2p/log?sinceTime=monday": http.StatusBadRequest,
	} {
		res, body := fetch(t, http.MethodGet, url+path)
		var s metav1.Status
		if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != code || int(s.Code) != code || s.Kind != "Status" || s.Message == "" {
			t.Errorf("%s: %s %s, want %d", path, res.Status, body, code)
		}
	}
}

// TestWatchBeginsAsInformersWant asks as client-go's informers do.
func TestWatchBeginsAsInformersWant(t *testing.T) {
	t.Parallel()
	url, _ := served(t)
	for _, accept := range []string{plain, asTable} {
		body := existing(t, url+"/api/v1/namespaces?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", accept)
		var types []string
		for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
			var e struct {
				Type   string
				Object struct{ Kind string }
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%v: %s", err, lines.Text())
			}
			types = append(types, e.Type+" "+e.Object.Kind)
		}
		kind := map[string]string{plain: "Namespace", asTable: "Table"}[accept]
		want := strings.Repeat("ADDED "+kind+",", 3) + "BOOKMARK " + kind
		if got := strings.Join(types, ","); got != want || !strings.Contains(body, metav1.InitialEventsAnnotationKey) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPagesOfLists(t *testing.T) {
	t.Parallel()
	url, _ := served(t)
	next, seen := "", map[string]bool{}
	for range 10 {
		var list corev1.PodList
		_, body := fetch(t, http.MethodGet, url+"/api/v1/pods?limit=2&continue="+next)
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) > 2 || list.Kind != "PodList" || list.ResourceVersion == "" {
			t.Fatalf("a page: %s", body)
		}
		for _, p := range list.Items {
			seen[p.Name] = true
		}
		if next = list.Continue; next == "" {
			break
		}
	}
	if len(seen) != 6 {
		t.Errorf("pages held %v", seen)
	}
}
