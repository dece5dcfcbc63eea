package dashboard_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	buildv1 "github.com/openshift/api/build/v1"
	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard"
	"slipway.dev/slipway/dashboard/dashboardtest"
	"slipway.dev/slipway/state/statetest"
)

func served(t *testing.T) (string, client.WithWatch) {
	t.Helper()
	c := statetest.New(t)
	if err := dashboardtest.Fill(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	return dashboardtest.Serve(t, c, dashboard.Options{
		Version: "v0", RouterURL: "http://127.0.0.1:8080", RouterTLSURL: "https://127.0.0.1:8443",
		Logs: dashboardtest.Logs{"shop-dev/frontend-7-4kx2p/web": "<b>listening</b>\n", "shop-dev/frontend-7": "assembled\n", "shop-dev/frontend-8": "assembling\n", "shop-dev/frontend-8 later": "pushing\n"},
	}), c
}

func fetch(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestPagesShow(t *testing.T) {
	t.Parallel()
	url, _ := served(t)
	for path, want := range map[string][]string{
		"/":                               {"Something needs a look", "Run three frontends before the sale", "billing/invoice.yaml:14", "the bank is on fire", "CrashLoopBackOff", `href="http://shop-dev.example.com:8080"`, `href="https://shop.example.com:8443"`},
		"/projects/shop-dev":              {"3 of 3 ready", "backend-3-h7n4d", "built from <code class=\"commit\" title=\"c0ffee1", "Try a newer base image", "back-off restarting"},
		"/projects/shop-prod":             {"from shop-dev/frontend", "aa00bb1"},
		"/applications/slipway/root":      {"Promote frontend v1.0 to shop-prod", "1 pod starts in shop-dev"},
		"/applications/slipway/billing":   {"RUNTIME ERROR: Field does not exist: imgae", "Apart from git", "the bank is on fire", "shop-prod/configmap/left-over"},
		"/builds/shop-dev/frontend-8":     {"assembling", `data-follow="/apis/build.openshift.io/v1/namespaces/shop-dev/builds/frontend-8/log?follow=true"`},
		"/builds/shop-dev/frontend-7":     {"assembled"},
		"/pods/shop-dev/frontend-7-4kx2p": {"&lt;b&gt;listening&lt;/b&gt;", "10.128.0.11"},
		"/?section=applications":          {"Run three frontends before the sale"},
		"/assets/live.js":                 {"EventSource"},
		"/assets/style.css":               {"prefers-color-scheme"},
	} {
		res, body := fetch(t, http.MethodGet, url+path)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: want %q in\n%s", path, w, body)
			}
		}
		if strings.Contains(body, "canary") || strings.Contains(body, "ZgotmplZ") {
			t.Errorf("%s shows a secret or a value that html/template refused", path)
		}
		csp := res.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || res.Header.Get("X-Frame-Options") != "DENY" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, res.Header)
		}
	}
	if _, part := fetch(t, http.MethodGet, url+"/?section=applications"); strings.Contains(part, "<html") || strings.Contains(part, "CrashLoop") {
		t.Errorf("a section comes with more than itself:\n%s", part)
	}
	for _, path := range []string{"/projects/nobody", "/builds/shop-dev/nobody", "/pods/a/b", "/applications/a/b", "/nothing"} {
		if res, _ := fetch(t, http.MethodGet, url+path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if res, body := fetch(t, http.MethodHead, url+"/"); res.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %s %q", res.Status, body)
	}
	if res, _ := fetch(t, http.MethodPost, url+"/"); res.StatusCode < 400 {
		t.Errorf("POST: %s", res.Status)
	}
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		if res, _ := fetch(t, http.MethodGet, url+"/events", header...); res.StatusCode != http.StatusForbidden {
			t.Errorf("stream for %v: %s", header, res.Status)
		}
	}
}

// TestNothingInjects fills every field that others write with markup.
func TestNothingInjects(t *testing.T) {
	t.Parallel()
	url, c := served(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	var b buildv1.Build
	key := types.NamespacedName{Namespace: "shop-dev", Name: "frontend-7"}
	if err := c.Get(t.Context(), key, &b); err != nil {
		t.Fatal(err)
	}
	b.Status.Message = evil
	if err := c.Status().Update(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	rec := &v1alpha1.Record{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "evil"}, Spec: v1alpha1.RecordSpec{
		Application: "root", Commit: "8c1f2ab94e0d75b1c6a2e0f3d4b5a69788c0d1e2", Outcome: "Applied", Author: evil, Message: evil, Plan: evil, Started: metav1.Now(),
	}}
	ev := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "evil"}, InvolvedObject: corev1.ObjectReference{Kind: evil, Namespace: "shop-dev", Name: evil}, Reason: evil, Message: evil}
	for _, o := range []client.Object{rec, ev} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/", "/projects/shop-dev", "/applications/slipway/root", "/builds/shop-dev/frontend-7", "/projects/" + strings.ReplaceAll(evil, "/", "%2f")} {
		if _, body := fetch(t, http.MethodGet, url+strings.ReplaceAll(path, " ", "%20")); strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") {
			t.Errorf("%s lets markup through", path)
		}
	}
}

// TestPageIsLive looks at the overview with a browser while live state changes.
func TestPageIsLive(t *testing.T) {
	t.Parallel()
	url, c := served(t)
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/")); err != nil {
		t.Fatal(err)
	}
	shows(t, ctx, `!document.getElementById("pulse").hidden`)
	shows(t, ctx, `document.querySelector("#applications").textContent.includes("Run three frontends")`)
	rec := &v1alpha1.Record{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "next"}, Spec: v1alpha1.RecordSpec{
		Application: "root", Commit: "feed5eed4e0d75b1c6a2e0f3d4b5a69788c0d1e2", Outcome: "Applied", Author: "Cy <cy@example.com>", Message: "Sail on", Started: metav1.Now(),
	}}
	if err := c.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	var app v1alpha1.Application
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: "slipway", Name: "root"}, &app); err != nil {
		t.Fatal(err)
	}
	app.Status.LastAppliedCommit = rec.Spec.Commit
	app.Status.LastAppliedAuthor, app.Status.LastAppliedMessage = rec.Spec.Author, rec.Spec.Message
	if err := c.Status().Update(t.Context(), &app); err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: "shop-dev", Name: "backend-3-h7n4d"}, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	if err := c.Status().Update(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	route := &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "second"}, Spec: routev1.RouteSpec{Host: "second.example.com", To: routev1.RouteTargetReference{Kind: "Service", Name: "frontend"}}}
	if err := c.Create(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	shows(t, ctx, `document.querySelector("#applications").textContent.includes("Sail on")`)
	shows(t, ctx, `document.querySelector("#projects").textContent.includes("second.example.com")`)
	shows(t, ctx, `!document.querySelector("#problems").textContent.includes("CrashLoopBackOff")`)
	shows(t, ctx, `performance.getEntriesByType("resource").every(r => r.name.startsWith(location.origin))`)
}

// shows waits until an expression holds in a page.
func shows(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		if holds {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not come true: %s", expression)
		}
	}
}

// TestBuildLogIsLive reads on in the log of a build that goes on.
func TestBuildLogIsLive(t *testing.T) {
	t.Parallel()
	url, _ := served(t)
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/builds/shop-dev/frontend-8")); err != nil {
		t.Fatal(err)
	}
	shows(t, ctx, `document.querySelector("pre.log").textContent === "assembling\npushing\n"`)
}

// browser is a Chromium of this test's own, ended with it.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(installed(t, "chromium", "chromium")), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	alloc, stop := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(tab)
		closeTab()
		stop()
		cancel()
	})
	return tab
}
