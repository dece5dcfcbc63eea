package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/state/loop"
)

// Recorder tells people what happens, in the events of an object.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// RegistryAuth answers with the credentials for an image in a project; empty: none.
type RegistryAuth func(ctx context.Context, namespace, image string) (username, password string, err error)

// Options are what an agent works with.
type Options struct {
	// Node is the node's name; the agent runs the pods whose spec.nodeName it is.
	Node string
	// Instance tells the containers of several agents on one engine apart; default: Node.
	Instance string
	Client   client.WithWatch
	Docker   engine.Docker
	// Network connects pods; default: [NoNetwork].
	Network Network
	// Followers lead requests to pods on this node. A pod that is deleted goes on until they, and
	// those of the other nodes, lead to it no more. Default: none do.
	Followers []Follower
	// Dir holds the pods' files. The engine must see it under the same path.
	Dir string
	// HostIP is the node's address; default: the one that it reaches others from.
	HostIP netip.Addr
	// RegistryAuth gives credentials beside the pods' imagePullSecrets; default: none.
	RegistryAuth RegistryAuth
	// Drain is how long a pod that is deleted goes on after nothing leads to it any more, for
	// what is under way; default 2 s.
	Drain time.Duration
	// Workers is how many pods are looked at side by side; default 8.
	Workers int
	// Starts is how many containers are being made and started at once, in the order in
	// which they were decided upon: the engine gets no faster by more; default: twice the
	// processors, 4 at least.
	Starts int
	// Sandboxes is how many sandboxes are kept ready for pods to come, which then start
	// sooner; each is a process that waits. Default: 2; negative: none.
	Sandboxes int
	// DiskHigh and DiskLow are how full, in percent, the engine's disk is when images that
	// nothing uses are removed, and to where; default: 85 and 80.
	DiskHigh, DiskLow int
	// DiskEvict is how full, in percent, the engine's disk or that of Dir is when pods that
	// wrote much of it are ended, one after the other; default: 95.
	DiskEvict int
	// MeasureEvery is how often what pods wrote to the disk is compared with what they may;
	// default: 20 s.
	MeasureEvery time.Duration
	// MaxPods is the number of pods the node takes; default 250.
	MaxPods  int64
	Log      *slog.Logger
	Recorder Recorder
	// Clock is the time; default: time.Now.
	Clock func() time.Time
}

// pullsAtOnce is how many images are pulled side by side.
const pullsAtOnce = 4

// Agent runs the pods of one node.
type Agent struct {
	Options
	files  files
	ledger ledger
	// starting and pulling let only so many through at once, first come, first served.
	starting, pulling *semaphore.Weighted

	wakes  chan loop.Key
	litter litter
	// ctx is of the work beside the controllers: pulls, probes, hooks. It ends with Run.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	pulls  pulls
	probes probers
	refs   references
	node   nodeFacts
	meter  meter
	pool   pool
	busy   busy
	// answers are for other nodes; nodeWake has the Node written.
	answers  answers
	nodeWake chan loop.Key
	// mounting: see [surroundings].
	mounting sync.Mutex
	// pauseRef is the image of sandboxes, when the engine was seen to have it.
	pauseRef atomic.Pointer[string]

	mu       sync.Mutex
	memories map[types.UID]*memory // guarded by mu, as is what is in them
	// ours are containers, by id, that the agent itself stopped, killed or removed, and
	// when: the engine's events about that follow. Guarded by mu.
	ours map[string]time.Time
}

// memory is what the agent knows of a pod beside what Docker and live state say. It
// may be lost: the agent then begins anew with what is there.
type memory struct {
	key          types.NamespacedName
	deletionSeen time.Time
	// behind are the services that lead, or led, to it; left, of one that is to go, the
	// revisions of their Endpoints that do not name it; ask what other nodes are asked.
	behind map[string]bool
	left   map[string]uint64
	ask    string
	// handedOver is since when nothing leads to it, and holders who did when that was last looked at.
	handedOver time.Time
	holders    []string
	// deleted: the object was deleted, and may still wait for finalizers.
	deleted  bool
	stopping map[string]time.Time
	failures map[string]Failure
	wanted   map[string]time.Time
	// messages are the termination messages of containers, by id.
	messages map[string]string
	// bounded is the pod, if anything limits what it writes; evicted says why it may not
	// go on.
	bounded *corev1.Pod
	evicted string

	attached string
	address  netip.Addr
}

// fill sets what is left open.
func (o *Options) fill() {
	if o.Instance == "" {
		o.Instance = o.Node
	}
	if o.Network == nil {
		o.Network = NoNetwork{}
	}
	if o.Drain == 0 {
		o.Drain = 2 * time.Second
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Starts == 0 {
		o.Starts = max(2*goruntime.NumCPU(), 4)
	}
	if o.Sandboxes == 0 {
		o.Sandboxes = 2
	}
	o.Sandboxes = max(o.Sandboxes, 0)
	if o.DiskHigh == 0 {
		o.DiskHigh, o.DiskLow = 85, 80
	}
	if o.DiskEvict == 0 {
		o.DiskEvict = 95
	}
	if o.MeasureEvery == 0 {
		o.MeasureEvery = measureEvery
	}
	if o.MaxPods == 0 {
		o.MaxPods = 250
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Recorder == nil {
		o.Recorder = silent{}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if !o.HostIP.IsValid() {
		o.HostIP = outboundAddress()
	}
}

// New makes an agent. Both [Agent.Run] and the [Agent.Controllers] have to run.
func New(o Options) (*Agent, error) {
	if o.Node == "" || o.Client == nil || o.Docker == nil || o.Dir == "" {
		return nil, errors.New("runtime: Node, Client, Docker and Dir are needed")
	}
	o.fill()
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	a := &Agent{Options: o, files: files{filepath.Join(dir, "pods")}, ledger: ledger{dir: filepath.Join(dir, "images")},
		starting: semaphore.NewWeighted(int64(o.Starts)), pulling: semaphore.NewWeighted(pullsAtOnce), wakes: make(chan loop.Key),
		litter: litter{wake: make(chan struct{}, 1)}, nodeWake: make(chan loop.Key, 1), pool: newPool(), memories: map[types.UID]*memory{}, ours: map[string]time.Time{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if err := os.MkdirAll(a.files.root, 0o700); err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	if a.Sandboxes > 0 && runsNothing(a.files.root) {
		a.Log.Warn("no sandboxes are kept ready: the directory is mounted noexec", "dir", a.files.root)
		a.Sandboxes = 0
	}
	return a, nil
}

type silent struct{}

func (silent) Event(client.Object, string, string, string, ...any) {}

// Controllers are the loops of the agent: over the pods, over its Node, and over pods that are to go.
func (a *Agent) Controllers() []loop.Controller {
	all := []loop.Controller{
		{
			Name: "pods-on-node",
			Watches: []loop.Watch{
				{List: &corev1.PodList{}, Keys: a.mine},
				{List: &corev1.ConfigMapList{}, Keys: func(o client.Object) []loop.Key { return a.tryAgain(a.refs.users("ConfigMap", o)) }},
				{List: &corev1.SecretList{}, Keys: func(o client.Object) []loop.Key { return a.tryAgain(a.refs.users("Secret", o)) }},
			},
			Wake: a.wakes, Workers: a.Workers, Reconcile: a.reconcile,
		},
		a.nodeController(),
		a.reclaimController(),
	}
	if len(a.Followers) > 0 {
		all = append(all, a.handOverController())
	}
	return all
}

func (a *Agent) mine(o client.Object) []loop.Key {
	if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName == a.Node {
		return []loop.Key{client.ObjectKeyFromObject(o)}
	}
	return nil
}

// Run follows the engine's events, and wakes what the controllers cannot know of: what
// is left of pods that went away while the agent was not there. It returns when ctx
// ends; containers keep running.
func (a *Agent) Run(ctx context.Context) error {
	defer func() {
		a.cancel()
		a.work.Wait()
	}()
	keys, err := a.files.keys()
	if err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	go a.sweepTrash()
	a.every(sweepEvery, "remove what nothing uses", a.sweep)
	a.every(a.MeasureEvery, "measure what pods wrote", a.watchDisks)
	a.keepPool()
	a.wakeAll(ctx, keys)
	a.follow(ctx)
	return nil
}

func (a *Agent) wakeAll(ctx context.Context, keys []loop.Key) {
	for _, k := range keys {
		select {
		case a.wakes <- k:
		case <-ctx.Done():
			return
		}
	}
}

// wake has a key looked at; it is called beside the controllers only.
func (a *Agent) wake(k loop.Key) { a.wakeAll(a.ctx, []loop.Key{k}) }

// every does something now and then, from now on.
func (a *Agent) every(d time.Duration, what string, do func(context.Context) error) {
	a.work.Go(func() {
		ticks := time.NewTicker(d)
		defer ticks.Stop()
		for {
			if err := do(a.ctx); err != nil && a.ctx.Err() == nil {
				a.Log.Warn(what, "error", err)
			}
			select {
			case <-a.ctx.Done():
				return
			case <-ticks.C:
			}
		}
	})
}

// remember gives f the memory of a pod, under the lock.
func (a *Agent) remember(uid types.UID, f func(*memory)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.memories[uid]
	if m == nil {
		m = &memory{stopping: map[string]time.Time{}, failures: map[string]Failure{}, wanted: map[string]time.Time{}, messages: map[string]string{}}
		a.memories[uid] = m
	}
	f(m)
}

// recall gives f the memory of a pod, under the lock, if there is one.
func (a *Agent) recall(uid types.UID, f func(*memory)) (known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, known := a.memories[uid]
	if known {
		f(m)
	}
	return known
}

// tryAgain lets containers that could not be made be tried again at once, since what
// they refer to has changed.
func (a *Agent) tryAgain(keys []loop.Key) []loop.Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.memories {
		if slices.Contains(keys, m.key) {
			clear(m.failures)
		}
	}
	return keys
}

// forget drops the memories of every pod of a name.
func (a *Agent) forget(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, m := range a.memories {
		if m.key == key {
			delete(a.memories, uid)
		}
	}
}

// touch notes that the agent itself is about to end or remove a container.
func (a *Agent) touch(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.ours[id] = now
	for other, at := range a.ours {
		if now.Sub(at) > time.Hour {
			delete(a.ours, other)
		}
	}
}

func (a *Agent) touched(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ours := a.ours[id]
	return ours
}
