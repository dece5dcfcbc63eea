package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/bench/workload"
)

// peerRun applies a repository of YAML in three revisions to a Kubernetes API server.
type peerRun func(ctx context.Context, e *Env, k *kube, n int, revisions [3]map[string]string) (applied, error)

// peerApply runs a peer on an API server of its own. Where it cannot be run the stated
// figures stand in, with a note that says why.
func (e *Env) peerApply(ctx context.Context, n int, first map[string]string, run peerRun, stated map[int]applied) (applied, string, error) {
	k, err := startKube(ctx, e)
	if err == nil {
		defer k.close()
		var changed map[string]string
		if changed, err = manifests(n, 7); err != nil {
			return applied{}, "", err
		}
		nothing := maps.Clone(first)
		maps.Copy(nothing, commented(first))
		var a applied
		if a, err = run(ctx, e, k, n, [3]map[string]string{first, nothing, changed}); err == nil {
			return a, "", nil
		}
	}
	if ctx.Err() != nil {
		return applied{}, "", ctx.Err()
	}
	return stated[n], "The peer's figure was measured earlier, because it does not run here: " + strings.TrimSuffix(err.Error(), ".") + ".", nil
}

// ssaPeer is Flux's library as any program would use it, over HTTP.
func ssaPeer(ctx context.Context, _ *Env, k *kube, n int, revisions [3]map[string]string) (applied, error) {
	rm := ssa.NewResourceManager(k.client, polling.NewStatusPoller(k.client, k.client.RESTMapper(), polling.Options{}), ssa.Owner{Field: "bench", Group: "bench.example.com"})
	rm.SetConcurrency(4)
	var took [3]float64
	for i, files := range revisions {
		began := time.Now()
		objects, err := parse(files)
		if err != nil {
			return applied{}, err
		}
		if _, err := rm.ApplyAll(ctx, objects, ssa.DefaultApplyOptions()); err != nil {
			return applied{}, err
		}
		took[i] = time.Since(began).Seconds()
	}
	return applied{took[0], took[1], took[2]}, k.holds(ctx, n)
}

func parse(files map[string]string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for doc := range strings.SplitSeq(files[name], "---\n") {
			if doc == "" || !strings.Contains(doc, "kind:") {
				continue
			}
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, u)
		}
	}
	return out, nil
}

// holds checks that the last revision is what the API server has.
func (k *kube) holds(ctx context.Context, n int) error {
	var configs corev1.ConfigMapList
	if err := k.client.List(ctx, &configs, client.InNamespace(workload.Namespace)); err != nil {
		return err
	}
	var controllers corev1.ReplicationControllerList
	if err := k.client.List(ctx, &controllers, client.InNamespace(workload.Namespace)); err != nil {
		return err
	}
	if len(controllers.Items) != n {
		return fmt.Errorf("%d ReplicationControllers instead of %d", len(controllers.Items), n)
	}
	configs.Items = slices.DeleteFunc(configs.Items, func(c corev1.ConfigMap) bool { return strings.HasPrefix(c.Name, "kube-") })
	return editions100(configs.Items, n, 7)
}

const fluxNamespace = "flux-system"

// kustomizePeer is Flux's controller; what source-controller would serve is served here.
func kustomizePeer(ctx context.Context, e *Env, k *kube, n int, revisions [3]map[string]string) (applied, error) {
	f := &flux{kube: k, archives: map[string][]byte{}}
	if err := f.start(ctx, e); err != nil {
		return applied{}, err
	}
	defer f.server.Close()
	var took [3]float64
	for i, files := range revisions {
		revision := fmt.Sprintf("main@sha1:%040d", i+1)
		if err := f.serve(revision, files); err != nil {
			return applied{}, err
		}
		began := time.Now()
		if err := f.publish(ctx, revision); err != nil {
			return applied{}, err
		}
		if i == 0 {
			began = time.Now()
			if err := f.declare(ctx); err != nil {
				return applied{}, err
			}
		}
		if err := f.reached(ctx, revision); err != nil {
			return applied{}, fmt.Errorf("%w: %s", err, k.log("kustomize-controller"))
		}
		took[i] = time.Since(began).Seconds()
	}
	return applied{took[0], took[1], took[2]}, k.holds(ctx, n)
}

// flux is kustomize-controller and the artifacts that it fetches.
type flux struct {
	kube     *kube
	server   *http.Server
	url      string
	mu       sync.Mutex
	archives map[string][]byte // guarded by mu
}

func (f *flux) start(ctx context.Context, e *Env) error {
	bin, err := kustomizeController.find(ctx, e)
	if err != nil {
		return err
	}
	if err := f.kinds(ctx); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.url = "http://" + l.Addr().String()
	f.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		data := f.archives[r.URL.Path]
		f.mu.Unlock()
		_, _ = w.Write(data)
	})}
	go f.server.Serve(l)
	// Its own limit on calls is lifted: it is to be as fast as it can.
	return f.kube.spawn("kustomize-controller", []string{"KUBECONFIG=" + f.kube.kubeconfig, "RUNTIME_NAMESPACE=" + fluxNamespace, "TMPDIR=" + f.kube.dir},
		bin, "--watch-all-namespaces=true", "--enable-leader-election=false", "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0",
		"--log-level=error", "--kube-api-qps=10000", "--kube-api-burst=20000")
}

// kinds installs kustomize-controller's own kind as its module ships it, and the sources'
// kinds without a schema.
func (f *flux) kinds(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", kustomizeController.Of)
	cmd.Dir = kustomizeController.dir()
	dir, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the module of kustomize-controller: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"))
	if err != nil {
		return err
	}
	own := map[string]any{}
	if err := yaml.Unmarshal(raw, &own); err != nil {
		return err
	}
	all := []map[string]any{own, {"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": fluxNamespace}}}
	for kind, plural := range map[string]string{"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories", "Bucket": "buckets", "ExternalArtifact": "externalartifacts"} {
		all = append(all, looseKind("source.toolkit.fluxcd.io", "v1", kind, plural))
	}
	for _, o := range all {
		u := &unstructured.Unstructured{Object: o}
		if err := f.kube.client.Create(ctx, u); err != nil {
			return fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}

func looseKind(group, version, kind, plural string) map[string]any {
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind)},
			"versions": []any{map[string]any{
				"name": version, "served": true, "storage": true,
				"subresources": map[string]any{"status": map[string]any{}},
				"schema":       map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}
}

// serve packs files as source-controller does.
func (f *flux) serve(revision string, files map[string]string) error {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	out := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := out.Write([]byte(files[name])); err != nil {
			return err
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.archives[archivePath(revision)] = packed.Bytes()
	return nil
}

func archivePath(revision string) string { return "/" + revision[len(revision)-8:] + ".tar.gz" }

var (
	gitRepositoryKind = schema.GroupVersionKind{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository"}
	kustomizationKind = schema.GroupVersionKind{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}
)

func fluxObject(kind schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	u.SetNamespace(fluxNamespace)
	u.SetName("bench")
	return u
}

// publish says, as source-controller would, that a revision is there.
func (f *flux) publish(ctx context.Context, revision string) error {
	repo := fluxObject(gitRepositoryKind)
	err := retried(ctx, func() error {
		err := f.kube.client.Get(ctx, client.ObjectKeyFromObject(repo), repo)
		if client.IgnoreNotFound(err) != nil || err == nil {
			return err
		}
		repo.Object["spec"] = map[string]any{"interval": "1h", "url": "https://example.com/bench.git"}
		return f.kube.client.Create(ctx, repo)
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	data := f.archives[archivePath(revision)]
	f.mu.Unlock()
	now := time.Now().UTC().Format(time.RFC3339)
	repo.Object["status"] = map[string]any{
		"observedGeneration": int64(1),
		"artifact": map[string]any{
			"path": "bench.tar.gz", "url": f.url + archivePath(revision), "revision": revision,
			"digest": fmt.Sprintf("sha256:%x", sha256.Sum256(data)), "lastUpdateTime": now, "size": int64(len(data)),
		},
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact", "lastTransitionTime": now}},
	}
	return f.kube.client.Status().Update(ctx, repo)
}

// retried waits for a kind that was just installed to be served.
func retried(ctx context.Context, do func() error) (err error) {
	for range 150 {
		if err = do(); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

func (f *flux) declare(ctx context.Context) error {
	k := fluxObject(kustomizationKind)
	k.Object["spec"] = map[string]any{
		"interval": "1h", "path": "./apps", "prune": true, "timeout": "10m",
		"sourceRef": map[string]any{"kind": "GitRepository", "name": "bench"},
	}
	return retried(ctx, func() error { return f.kube.client.Create(ctx, k) })
}

// reached waits until the Kustomization says that a revision is applied.
func (f *flux) reached(ctx context.Context, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k := fluxObject(kustomizationKind)
	for {
		if err := f.kube.client.Get(ctx, client.ObjectKeyFromObject(k), k); err != nil {
			return err
		}
		at, _, _ := unstructured.NestedString(k.Object, "status", "lastAppliedRevision")
		if at == revision {
			return nil
		}
		select {
		case <-ctx.Done():
			status, _, _ := unstructured.NestedMap(k.Object, "status")
			return fmt.Errorf("the Kustomization is not at %s: %v", revision, status)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
