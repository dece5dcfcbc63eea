package nodeapi_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodecert"
	"slipway.dev/slipway/state/remote"
)

// world has two nodes with a pod each, and what they need.
func world(t *testing.T) (*served, client.WithWatch, *remote.Conn) {
	t.Helper()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "image ", r.URL.Path, r.Header.Get("Authorization"))
	}))
	c, conn := s.node("mine", "10.128.2.0/23")
	s.node("other", "10.128.4.0/23")
	s.create(pod("shop", "mine", "mine", "mine"), pod("bank", "foreign", "other", "theirs"), pod("bank", "unbound", "", "theirs"))
	for _, ns := range []string{"shop", "bank", "slipway"} {
		for _, name := range []string{"mine", "theirs"} {
			s.create(secret(ns, name), configMap(ns, name))
		}
	}
	return s, c, conn
}

// send sends a request as it is, and gives the code and the body.
func send(t *testing.T, conn *remote.Conn, method, path, contentType, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://server"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	resp, err := conn.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func pathOf(k api.Kind, ns, name string) string {
	p := "/api/" + k.Version
	if k.Group != "" {
		p = "/apis/" + k.Group + "/" + k.Version
	}
	if k.Namespaced && ns != "" {
		p += "/namespaces/" + ns
	}
	p += "/" + k.Resource
	if name != "" {
		p += "/" + name
	}
	return p
}

// A node that tries every verb on every kind, on its own names and on others', gets what rules.go allows
// and nothing else: live state is byte by byte the same afterwards, and no canary of others is told.
func TestAHostileNodeGetsNowhere(t *testing.T) {
	t.Parallel()
	s, _, conn := world(t)
	before := dump(t, s)
	for _, k := range api.Kinds() {
		for _, ns := range []string{"", "shop", "bank", "slipway"} {
			for _, name := range []string{"", "mine", "theirs", "foreign", "other", "node-authority", "nothing"} {
				for _, sub := range []string{"", "/status", "/binding"} {
					if sub != "" && name == "" {
						continue
					}
					for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
						hostile(t, conn, k, ns, name, sub, method)
					}
				}
			}
		}
	}
	after := dump(t, s)
	for key, was := range before {
		// Its own pod and its own node: a status that says nothing is its to write.
		if key != "Pod shop/mine" && key != "Node /mine" && after[key] != was {
			t.Errorf("%s is changed:\n%s\n%s", key, was, after[key])
		}
	}
	for key := range after {
		if before[key] == "" {
			t.Errorf("%s was made", key)
		}
	}
}

func hostile(t *testing.T, conn *remote.Conn, k api.Kind, ns, name, sub, method string) {
	t.Helper()
	body, contentType := "", "application/json"
	switch method {
	case "POST", "PUT":
		body = fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":%q,"labels":{"a":"b"}},"involvedObject":{"kind":"Pod","namespace":%q,"name":"foreign"},"type":"Normal"}`,
			k.GroupVersion().String(), k.Kind, name, ns, ns)
	case "PATCH":
		body, contentType = `{"metadata":{"labels":{"a":"b"},"annotations":{"a":"b"}},"spec":{"nodeName":"mine","taints":null,"unschedulable":false},"data":{"k":"eA=="}}`, "application/merge-patch+json"
	}
	path := pathOf(k, ns, name) + sub
	code, answer := send(t, conn, method, path, contentType, body)
	if strings.Contains(answer, "PRIVATE KEY") || strings.Contains(strings.ReplaceAll(answer, "canary-mine", ""), "canary-") && !strings.Contains(answer, "canary-shop-mine") {
		t.Errorf("%s %s tells a secret: %s", method, path, answer)
	}
	for _, foreign := range []string{"canary-foreign", "canary-bank", "canary-shop-theirs", "Y2FuYXJ5LWJhbms", "Y2FuYXJ5LXNob3AtdGhlaXJz", "Y2FuYXJ5LXNsaXB3YXk"} {
		if strings.Contains(answer, foreign) {
			t.Errorf("%s %s tells %s", method, path, foreign)
		}
	}
	if code >= 500 {
		t.Errorf("%s %s: %d %s", method, path, code, answer)
	}
	if code < 300 && method != "GET" && !(name == "mine" && (k.Kind == "Pod" && ns == "shop" || k.Kind == "Node") && sub == "/status") {
		t.Errorf("%s %s is answered with %d: %s", method, path, code, answer)
	}
}

func dump(t *testing.T, s *served) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, k := range api.Kinds() {
		list, err := api.Scheme().New(k.GroupVersion().WithKind(k.Kind + "List"))
		s.must(err)
		s.must(s.state.List(t.Context(), list.(client.ObjectList)))
		s.must(eachItem(list, func(o client.Object) {
			data, err := json.Marshal(o)
			s.must(err)
			out[k.Kind+" "+o.GetNamespace()+"/"+o.GetName()] = string(data)
		}))
	}
	return out
}

func eachItem(list runtime.Object, f func(client.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error { f(o.(client.Object)); return nil })
}

func TestANodeSeesWhatItRuns(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	ctx := t.Context()
	var pods corev1.PodList
	s.must(c.List(ctx, &pods))
	if len(pods.Items) != 3 {
		t.Fatalf("%d pods", len(pods.Items))
	}
	for _, p := range pods.Items {
		env := len(p.Spec.Containers[0].Env)
		if own := p.Name == "mine"; own != (env > 0) || own != (p.Annotations["note"] != "") || p.Labels["app"] != p.Name || p.Spec.Containers[0].Ports[0].Name != "http" {
			t.Errorf("pod %s is seen as %+v", p.Name, p)
		}
	}
	var own corev1.Secret
	s.must(c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mine"}, &own))
	if string(own.Data["k"]) != "canary-shop-mine" {
		t.Errorf("its own secret is %q", own.Data)
	}
	for _, list := range []client.ObjectList{&corev1.SecretList{}, &corev1.ConfigMapList{}} {
		s.must(c.List(ctx, list))
		s.must(eachItem(list, func(o client.Object) {
			if o.GetNamespace() != "shop" || o.GetName() != "mine" {
				t.Errorf("it lists %T %s/%s", o, o.GetNamespace(), o.GetName())
			}
		}))
	}
	// A pod that has ended needs nothing any more.
	var mine corev1.Pod
	s.must(s.state.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mine"}, &mine))
	mine.Status.Phase = corev1.PodSucceeded
	s.must(s.state.Status().Update(ctx, &mine))
	s.refused(c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mine"}, &own), "does not concern it")
}

// A pod may name what it likes: who may join and who has is shown to nobody.
func TestSecretsOfNodesAreShownToNobody(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	for i, name := range []string{"node-authority", "node-other"} {
		s.create(pod("slipway", fmt.Sprintf("greedy-%d", i), "mine", name))
		s.refused(c.Get(t.Context(), client.ObjectKey{Namespace: "slipway", Name: name}, &corev1.Secret{}), "does not concern it")
	}
	var all corev1.SecretList
	s.must(c.List(t.Context(), &all))
	if len(all.Items) != 1 {
		t.Errorf("it lists %d secrets", len(all.Items))
	}
}

func TestANodeWritesWhatIsItsToWrite(t *testing.T) {
	t.Parallel()
	s, c, conn := world(t)
	ctx := t.Context()
	var p corev1.Pod
	s.must(c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mine"}, &p))
	next := p.DeepCopy()
	next.Labels, next.Spec.NodeName = map[string]string{"steers": "secrets"}, "other"
	next.Status.Phase, next.Status.PodIP = corev1.PodRunning, "10.128.2.9"
	s.must(c.Status().Patch(ctx, next, client.MergeFromWithOptions(&p, client.MergeFromWithOptimisticLock{})))
	var live corev1.Pod
	s.must(s.state.Get(ctx, client.ObjectKeyFromObject(&p), &live))
	if live.Status.PodIP != "10.128.2.9" || live.Labels["steers"] != "" || live.Spec.NodeName != "mine" {
		t.Errorf("the pod is %+v", live)
	}
	// What it saw is old now.
	old := p.DeepCopy()
	old.Status.Phase = corev1.PodFailed
	s.refused(c.Status().Patch(ctx, old, client.MergeFromWithOptions(&p, client.MergeFromWithOptimisticLock{})), "the object has changed")
	for _, ip := range []string{"10.128.4.9", "10.128.0.1", "8.8.8.8", "nonsense", "::1"} {
		lie := live.DeepCopy()
		lie.Status.PodIP = ip
		s.refused(c.Status().Update(ctx, lie), "not of its subnet")
	}
	for _, name := range []string{"foreign", "unbound"} {
		var theirs corev1.Pod
		s.must(s.state.Get(ctx, client.ObjectKey{Namespace: "bank", Name: name}, &theirs))
		theirs.Status.Phase = corev1.PodFailed
		s.refused(c.Status().Update(ctx, &theirs), "does not concern it")
	}
	var node corev1.Node
	s.must(c.Get(ctx, client.ObjectKey{Name: "mine"}, &node))
	changed := node.DeepCopy()
	changed.Labels, changed.Spec.Taints = map[string]string{"zone": "vault"}, []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoSchedule}}
	changed.Spec.PodCIDR = "10.128.4.0/23"
	changed.Status.NodeInfo.KernelVersion = "6"
	s.must(c.Status().Patch(ctx, changed, client.MergeFrom(&node)))
	s.must(s.state.Get(ctx, client.ObjectKey{Name: "mine"}, &node))
	if node.Labels["zone"] != "" || len(node.Spec.Taints) > 0 || node.Spec.PodCIDR != "10.128.2.0/23" || node.Status.NodeInfo.KernelVersion != "6" {
		t.Errorf("the node is %+v", node)
	}
	s.refused(c.Update(ctx, changed), "may not put nodes")
	code, _ := send(t, conn, "PATCH", "/api/v1/nodes/mine/status", "application/apply-patch+yaml", "status: {}")
	if code != http.StatusUnsupportedMediaType {
		t.Errorf("server-side apply: %d", code)
	}
	code, _ = send(t, conn, "PUT", "/api/v1/nodes/mine/status", "application/json", `{"status":{"phase":"`+strings.Repeat("x", 2<<20)+`"}}`)
	if code != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MB: %d", code)
	}
}

func TestANodeTakesAwayOnlyItsOwnThatWereAskedToGo(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	ctx := t.Context()
	var mine, theirs corev1.Pod
	s.must(s.state.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mine"}, &mine))
	s.must(s.state.Get(ctx, client.ObjectKey{Namespace: "bank", Name: "foreign"}, &theirs))
	del := func(p *corev1.Pod, opts ...client.DeleteOption) error {
		return c.Delete(ctx, p, append(opts, client.GracePeriodSeconds(0))...)
	}
	s.refused(del(&mine, client.Preconditions{UID: &mine.UID}), "was not asked to go")
	s.must(s.state.Delete(ctx, &mine))
	s.must(s.state.Delete(ctx, &theirs))
	s.refused(del(&mine), "by its uid")
	s.refused(del(&mine, client.Preconditions{UID: &theirs.UID}), "another pod has this name")
	s.refused(del(&theirs, client.Preconditions{UID: &theirs.UID}), "does not concern it")
	s.must(del(&mine, client.Preconditions{UID: &mine.UID}))
	if err := s.state.Get(ctx, client.ObjectKeyFromObject(&mine), &mine); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the pod is not gone: %v", err)
	}
}

func TestANodeTellsOfItsOwn(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	ctx := t.Context()
	about := func(ns, kind, name string) *corev1.Event {
		return &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: strings.ToLower(kind) + "." + name}, Type: "Normal", Reason: "Pulled", Message: "m", Count: 1,
			InvolvedObject: corev1.ObjectReference{Kind: kind, Name: name, Namespace: ns}, Source: corev1.EventSource{Host: "other"},
		}
	}
	ev := about("shop", "Pod", "mine")
	s.must(c.Create(ctx, ev))
	if ev.Source.Host != "mine" {
		t.Errorf("it says that %q tells", ev.Source.Host)
	}
	ev.Count, ev.Message = 7, "another text"
	s.must(c.Update(ctx, ev))
	s.must(c.Get(ctx, client.ObjectKeyFromObject(ev), ev))
	if ev.Count != 7 || ev.Message != "m" {
		t.Errorf("counted: %d %q", ev.Count, ev.Message)
	}
	for _, bad := range []*corev1.Event{about("bank", "Pod", "foreign"), about("shop", "Pod", "nothing"), about("shop", "DeploymentConfig", "mine"), about("default", "Node", "other")} {
		s.refused(c.Create(ctx, bad), "may tell of itself")
	}
	theirs := about("bank", "Pod", "foreign")
	s.create(theirs)
	theirs.Count = 99
	s.refused(c.Update(ctx, theirs), "does not concern it")
	s.refused(c.Get(ctx, client.ObjectKeyFromObject(theirs), &corev1.Event{}), "does not concern it")
}

func TestANodePullsWhatItsPodsAreMadeOf(t *testing.T) {
	t.Parallel()
	_, _, conn := world(t)
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/shop/mine/manifests/1": 200, "/v2/shop/mine/blobs/sha256:0": 200,
		"/v2/bank/foreign/manifests/1": 403, "/v2/shop/min/manifests/1": 403, "/v2/_catalog": 403, "/v2/shop/mine/tags/list": 403,
		"/v2/shop/mine/manifests/../../../bank/foreign/manifests/1": 403, "/v2/shop/mine/referrers/sha256:0": 403,
	} {
		if code, answer := send(t, conn, "GET", path, "", ""); code != want {
			t.Errorf("GET %s: %d %s, want %d", path, code, answer, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if code, _ := send(t, conn, method, "/v2/shop/mine/blobs/uploads/", "", ""); code != http.StatusForbidden {
			t.Errorf("%s: %d", method, code)
		}
	}
}

// Without a certificate there is nothing; one of somebody else's authority is none, and so is one of a
// name that was never given.
func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	other := serve(t, nil)
	for who, authority := range map[string]*nodecert.Authority{"": nil, "mine": other.api.Authority, "never": s.api.Authority, "other": s.api.Authority} {
		for _, path := range []string{"/api/v1/pods", "/api/v1/nodes/mine", "/v2/", "/anything"} {
			code, body := as(t, authority, who, s.url+path)
			if code != http.StatusUnauthorized || bytes.Contains(body, []byte("canary")) {
				t.Errorf("%q: GET %s: %d %s", who, path, code, body)
			}
		}
	}
}

// as asks with a fresh certificate that an authority signed for a name, without checking who answers.
func as(t *testing.T, authority *nodecert.Authority, name, url string) (int, []byte) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if authority != nil {
		key, err := nodecert.NewKey()
		must(t, err)
		request, err := nodecert.NewRequest(key)
		must(t, err)
		cert, _, err := authority.Sign(request, name, time.Now())
		must(t, err)
		text, err := nodecert.EncodeKey(key)
		must(t, err)
		pair, err := tls.X509KeyPair(cert, text)
		must(t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer c.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	resp, err := c.Do(r)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
