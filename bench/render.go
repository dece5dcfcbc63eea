package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/go-jsonnet"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/render"
)

// rendered is what a render came to.
type rendered struct {
	Seconds float64 `json:"seconds"`
	Objects int     `json:"objects"`
	Digest  string  `json:"digest"`
}

// renderCold renders all applications from nothing, each way in a process of its own.
func renderCold(ctx context.Context, e *Env) error {
	for _, n := range []int{e.size(250, 10), e.size(2500, 20)} {
		dir, err := e.folder("tree")
		if err != nil {
			return err
		}
		if err := workload.Write(dir, workload.Jsonnet(n)); err != nil {
			return err
		}
		if err := e.renderTree(ctx, dir, n); err != nil {
			return err
		}
	}
	return nil
}

func (e *Env) renderTree(ctx context.Context, dir string, n int) error {
	ours, memory, want, err := e.renderBy(ctx, "render", dir, n)
	if err != nil {
		return err
	}
	peer, peerMemory, got, err := e.renderBy(ctx, "jsonnet", dir, n)
	if err != nil {
		return err
	}
	if want != got {
		return fmt.Errorf("ours renders %d objects of digest %s, go-jsonnet %d of %s", want.Objects, want.Digest, got.Objects, got.Digest)
	}
	what := fmt.Sprintf("cold render of %s objects", thousands(want.Objects))
	same := "every object byte for byte as JSON"
	e.add(Line{What: what, Ours: secs(ours), PeerName: "go-jsonnet", Peer: secs(peer), Times: 3, Same: same,
		Note: fmt.Sprintf("%s applications that share a library; ours in confined child processes, go-jsonnet as a plain library in one process.", thousands(n))})
	half := Line{What: what + ", memory", Ours: size(memory), PeerName: "go-jsonnet", Peer: size(peerMemory), Same: same,
		Note: "The highest sum of the resident memory of the process and its children; what they share, such as the program itself, is counted once."}
	if want.Objects >= 10_000 {
		half.Times = 2
	}
	e.add(half)
	line := Line{What: what, Ours: secs(ours), PeerName: "tk show", Same: same}
	if line.Peer, err = e.tkShow(ctx, dir, want); err != nil {
		if !errors.Is(err, errNotBuilt) {
			return err
		}
		line.Note = err.Error()
	}
	e.tkTook = line.Peer
	e.add(line)
	return nil
}

// renderBy is the median time and memory of a child of this program, and what it rendered.
func (e *Env) renderBy(ctx context.Context, by, dir string, n int) (float64, float64, rendered, error) {
	var times, memory []float64
	var first rendered
	for range e.runs(3) {
		var r rendered
		p, err := runSelf(ctx, &r, by, dir, strconv.Itoa(n))
		if err != nil {
			return 0, 0, r, err
		}
		times, memory = append(times, r.Seconds), append(memory, p.Peak)
		if r.Seconds = 0; first.Digest != "" && r != first {
			return 0, 0, r, fmt.Errorf("%s renders another result each time", by)
		}
		first = r
	}
	return median(times), median(memory), first, nil
}

func (e *Env) tkShow(ctx context.Context, dir string, want rendered) (Figure, error) {
	bin, err := tk.find(ctx, e)
	if err != nil {
		return Figure{}, err
	}
	var times []float64
	for range e.runs(2) {
		r, err := runProcess(ctx, dir, bin, "show", "environments/default", "--dangerous-allow-redirect")
		if err != nil {
			return Figure{}, err
		}
		times = append(times, r.Seconds)
		got, err := digestYAML(r.Stdout)
		if err != nil {
			return Figure{}, err
		}
		if got != want {
			return Figure{}, fmt.Errorf("ours renders %v, tk %v", want, got)
		}
	}
	return secs(median(times)), nil
}

// renderChild renders the n applications of a folder as the reconciler asks for them.
func renderChild(ctx context.Context, args []string) (any, error) {
	dir, n, err := dirAndCount(args)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r := render.New(render.Options{Log: quiet()})
	defer r.Close()
	results, err := renderAll(ctx, r, dir, n)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	var objects []map[string]any
	for _, d := range results {
		for _, o := range d.Objects {
			objects = append(objects, o.Object)
		}
	}
	return digest(objects, took), nil
}

func renderAll(ctx context.Context, r *render.Renderer, dir string, n int) ([]api.Desired, error) {
	tree := os.DirFS(dir)
	results, errs := make([]api.Desired, n), make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range next {
				results[i], errs[i] = r.Render(ctx, render.Request{
					Tree: tree, Path: workload.Folder(i), Project: workload.Namespace, Application: home + "/" + workload.App(i),
				})
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return results, errors.Join(errs...)
}

// jsonnetChild evaluates the file that imports every application with plain go-jsonnet.
func jsonnetChild(_ context.Context, args []string) (any, error) {
	dir, _, err := dirAndCount(args)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	objects, err := plainJsonnet(dir, workload.Environment)
	if err != nil {
		return nil, err
	}
	return digest(objects, time.Since(began)), nil
}

// plainJsonnet evaluates a file as any user of the library would.
func plainJsonnet(dir, file string) ([]map[string]any, error) {
	vm := jsonnet.MakeVM()
	vm.Importer(&jsonnet.FileImporter{JPaths: []string{filepath.Join(dir, "lib")}})
	text, err := vm.EvaluateFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	return flatten(nil, tree), nil
}

// flatten finds the objects in a nested tree of them.
func flatten(found []map[string]any, tree map[string]any) []map[string]any {
	if tree["apiVersion"] != nil && tree["kind"] != nil {
		return append(found, tree)
	}
	for _, v := range tree {
		if below, ok := v.(map[string]any); ok {
			found = flatten(found, below)
		}
	}
	return found
}

func digestYAML(raw []byte) (rendered, error) {
	var objects []map[string]any
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 1<<16); ; {
		var o unstructured.Unstructured
		err := d.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return digest(objects, 0), nil
		}
		if err != nil {
			return rendered{}, err
		}
		if o.Object != nil {
			objects = append(objects, o.Object)
		}
	}
}

// digest is of every object's JSON, in an order of its own.
func digest(objects []map[string]any, took time.Duration) rendered {
	lines := make([]string, len(objects))
	for i, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			raw = []byte(err.Error())
		}
		lines[i] = string(raw)
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range lines {
		fmt.Fprintln(h, l)
	}
	return rendered{Seconds: took.Seconds(), Objects: len(objects), Digest: hex.EncodeToString(h.Sum(nil)[:8])}
}

func dirAndCount(args []string) (string, int, error) {
	if len(args) != 2 {
		return "", 0, errors.New("want a folder and a count")
	}
	n, err := strconv.Atoi(args[1])
	return args[0], n, err
}

func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
