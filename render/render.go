package render

import (
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/sandbox"
)

// Limits bound the work on one file.
type Limits = sandbox.Limits

// Ledger keeps generated parameter values for good. An instance is a template instance's
// name within the application.
type Ledger interface {
	// Values returns what is kept; nothing kept is an empty map.
	Values(ctx context.Context, application, instance string) (map[string]string, error)
	// Keep adds values. One that is kept already stays as it is.
	Keep(ctx context.Context, application, instance string, values map[string]string) error
}

// Options are what a Renderer is made of.
type Options struct {
	// Exe is the command that runs ChildMain; default: this program with the argument render-child.
	Exe []string
	// Env is the child's environment; default: empty.
	Env []string
	// Ledger keeps generated values. Without one, templates that generate values can only be previewed.
	Ledger Ledger
	// Keyring opens encrypted files. Without one a stand-in takes the place of each encrypted
	// value, so that a repository can be checked without keys.
	Keyring Keyring
	// Check finds what is wrong with one object; default api.Check. It is called for several
	// at the same time.
	Check func(*unstructured.Unstructured) field.ErrorList
	// Limits of each file's evaluation.
	Limits Limits
	// Workers is how many renders run at the same time, each in a child of its own; default:
	// one for each processor, but at least 2 and at most 4.
	Workers int
	Log     *slog.Logger
}

// Renderer renders applications. It is safe for concurrent use.
type Renderer struct {
	ledger  Ledger
	keyring Keyring
	check   func(*unstructured.Unstructured) field.ErrorList
	pool    *sandbox.Pool
	cache   *cache
	// files keeps what single files of larger applications give.
	files   *cache
	lanes   *lanes
	session atomic.Uint64
	// disguise tells the stand-ins of this renderer from those of others.
	disguise disguise
}

// New starts a first child in the background. Close ends all of them.
func New(o Options) *Renderer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Check == nil {
		o.Check = api.Check
	}
	if o.Workers == 0 {
		o.Workers = min(max(runtime.NumCPU(), 2), 4)
	}
	if len(o.Exe) == 0 {
		self, err := os.Executable()
		if err != nil {
			o.Log.Error("this program's own file is not known, so that nothing can be rendered", "error", err)
			self = os.Args[0]
		}
		o.Exe = []string{self, "render-child"}
	}
	return &Renderer{
		ledger: o.Ledger, keyring: o.Keyring, check: o.Check, cache: newCache(), files: newCache(), lanes: newLanes(o.Workers),
		pool: sandbox.NewPool(o.Exe, o.Env, o.Workers, o.Limits, o.Log), disguise: newDisguise(),
	}
}

// Close ends the children.
func (r *Renderer) Close() { r.pool.Close() }

// Request is what is to be rendered.
type Request struct {
	Tree fs.FS
	// Path of the folder in the tree; empty: its root.
	Path string
	// Project that the objects go to; empty: cluster-wide objects and any project.
	Project    string
	Parameters map[string]string
	// Application is `namespace/name`, the owner of generated values.
	Application string
	// Persist keeps newly generated values. Without it they are shown as placeholders and nothing is written.
	Persist bool
	// Conceal gives a stand-in for each generated and each encrypted value, also where the
	// ledger or the keyring has it: what nobody has approved may turn a value into anything,
	// so it is not given any. Equal values do not have equal stand-ins, but a value has the
	// same one at every render by one Renderer.
	Conceal bool
}

// Render renders an application. Mistakes in the tree come back as api.Problems, all of
// them; any other error is a failure of the machine and says nothing about the tree.
//
// The objects are shared with the renderer's cache and with other callers: they must not be
// changed. The slice may be appended to. Depends is filled in beside mistakes, too, so that
// it is known which commit may mend them. Hash follows from what was read, not from the
// objects: equal hashes mean equal objects with equal origins; it is the same at every
// render by one build of this program, and belongs to no log, because it covers secrets.
//
// A render whose inputs are as they were at an earlier one answers from the cache: in
// microseconds and without reading a file where the tree implements api.TreeDigests.
func (r *Renderer) Render(ctx context.Context, q Request) (api.Desired, error) {
	dir, ok := cleanDir(q.Path)
	if !ok {
		return api.Desired{}, api.Problems{{Message: "path " + q.Path + " is not a folder inside of the repository"}}
	}
	t := newTree(q.Tree)
	v := &values{ledger: r.ledger, keyring: r.keyring, application: q.Application, persist: q.Persist}
	if q.Conceal {
		v = &values{application: q.Application, disguise: r.disguise}
	}
	key := cacheKey(q, t, dir)
	if hit, ok, err := r.cache.get(ctx, key, dir, t, v); err != nil || ok {
		if err != nil {
			return api.Desired{}, err
		}
		return hit.desired, failure(slices.Clone(hit.problems), nil)
	}
	files, wrong, err := t.files(dir)
	if err != nil {
		return api.Desired{}, err
	}
	if len(files) == 0 && len(wrong) > 0 {
		return api.Desired{Depends: depends(dir, t)}, wrong
	}
	for {
		run := &rendering{Request: q, renderer: r, dir: dir, tree: t, values: v, files: files, wrong: wrong, good: map[*unstructured.Unstructured]bool{}}
		leave, err := r.lanes.enter(ctx, q.Application)
		if err != nil {
			return api.Desired{}, err
		}
		objects, problems, err := run.do(ctx)
		leave(run.deaths > 0 || run.took > slowAfter)
		if err != nil {
			return api.Desired{}, err
		}
		problems = v.redact(problems)
		if len(problems) == 0 {
			settled, err := v.keep(ctx)
			if err != nil {
				return api.Desired{}, err
			}
			if !settled {
				continue
			}
		}
		done := run.outcome(key, objects, problems)
		if len(wrong) == 0 && len(t.refusals) == 0 && v.reproducible(len(problems) > 0) {
			r.cache.put(done, run.good)
		}
		return done.desired, failure(slices.Clone(problems), nil)
	}
}

// outcome is what a finished run came to.
func (r *rendering) outcome(key string, objects []api.DesiredObject, problems api.Problems) *entry {
	e := &entry{key: key, problems: problems, files: r.files, reads: maps.Clone(r.tree.digests), values: r.values.used()}
	e.desired.Depends = depends(r.dir, r.tree)
	if len(problems) == 0 {
		e.desired.Objects = slices.Clip(objects)
		if !r.values.placeholders {
			e.desired.Hash = identity(r.Request, r.dir, e.reads, e.values)
		}
	}
	e.identify(r.tree, r.dir)
	return e
}

// failure keeps an empty list from being taken for an error.
func failure(problems api.Problems, err error) error {
	if err != nil || len(problems) == 0 {
		return err
	}
	return problems
}

// cleanDir gives a path the form that fs.FS takes.
func cleanDir(p string) (string, bool) {
	if p == "" {
		return ".", true
	}
	if strings.ContainsAny(p, "\x00\\") || path.IsAbs(p) {
		return "", false
	}
	clean := path.Clean(p)
	return clean, fs.ValidPath(clean)
}
