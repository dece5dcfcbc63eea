package runtime

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestAnHTTPProbeStaysAtItsPod(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no database", http.StatusInternalServerError)
	})
	mux.Handle("/to-ok", http.RedirectHandler("/ok", http.StatusFound))
	mux.Handle("/to-broken", http.RedirectHandler("/broken", http.StatusFound))
	mux.Handle("/to-itself", http.RedirectHandler("/to-itself", http.StatusFound))
	// RFC 5737: belongs to nobody.
	mux.Handle("/away", http.RedirectHandler("http://192.0.2.1/broken", http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/ok": "", "/to-ok": "", "/away": "",
		"/broken": "status 500: no database", "/to-broken": "status 500: no database", "/to-itself": "stopped after 10 redirects", "/none": "status 404",
	} {
		err := get(t.Context(), dialer{address: netip.MustParseAddr(at.Hostname())}, &corev1.Container{}, &corev1.HTTPGetAction{Path: path, Port: intstr.Parse(at.Port())})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
