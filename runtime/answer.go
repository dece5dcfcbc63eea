package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// question is what a pod's condition asks other nodes: whether they follow the Endpoints of these
// services that far.
func question(left map[string]uint64) string {
	var words []string
	for _, s := range slices.Sorted(maps.Keys(left)) {
		words = append(words, fmt.Sprintf("%s@%d", s, left[s]))
	}
	return strings.Join(words, ",")
}

// longestQuestion is more than any pod's services take, in bytes.
const longestQuestion = 16 << 10

// askOf is what a pod's node asks the others; another node may have written anything.
func askOf(pod *corev1.Pod) (left map[string]uint64, asks bool) {
	for _, c := range pod.Status.Conditions {
		if c.Type != api.HandOver || c.Status != corev1.ConditionFalse || len(c.Message) > longestQuestion {
			continue
		}
		left = map[string]uint64{}
		for word := range strings.SplitSeq(c.Message, ",") {
			service, text, _ := strings.Cut(word, "@")
			revision, err := strconv.ParseUint(text, 10, 64)
			if service == "" || err != nil {
				return nil, false
			}
			left[service] = revision
		}
		return left, true
	}
	return nil, false
}

// answers are what other nodes were told of their pods that are to go, or will be.
type answers struct {
	mu sync.Mutex
	of map[types.NamespacedName]reply // guarded by mu
}

// reply is about one pod. given: nothing here leads to it.
type reply struct {
	uid   types.UID
	since time.Time
	given bool
}

// to is the reply about a pod, which begins now if there is none.
func (l *answers) to(key types.NamespacedName, uid types.UID, now time.Time) reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, ok := l.of[key]; ok && have.uid == uid {
		return have
	}
	if l.of == nil {
		l.of = map[types.NamespacedName]reply{}
	}
	l.of[key] = reply{uid: uid, since: now}
	return l.of[key]
}

func (l *answers) give(key types.NamespacedName, r reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.given = true
	l.of[key] = r
}

func (l *answers) drop(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, key)
}

func (l *answers) given() (uids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.of {
		if r.given {
			uids = append(uids, string(r.uid))
		}
	}
	slices.Sort(uids)
	return uids
}

// answer tells another node, as soon as it is so, that nothing here leads to a pod of it.
func (a *Agent) answer(pod *corev1.Pod) loop.Result {
	left, asks := askOf(pod)
	if !asks {
		return loop.Result{}
	}
	key := client.ObjectKeyFromObject(pod)
	r := a.answers.to(key, pod.UID, a.Clock())
	if r.given {
		return loop.Result{}
	}
	for s, revision := range left {
		follows := func(f Follower) bool {
			return f.Follows(types.NamespacedName{Namespace: pod.Namespace, Name: s}, revision)
		}
		if slices.ContainsFunc(a.Followers, func(f Follower) bool { return !follows(f) }) {
			// Nobody waits any longer, whatever the other node is about.
			if waited := a.Clock().Sub(r.since); waited < 2*handOverMost {
				return loop.Result{After: pace(waited)}
			}
			return loop.Result{}
		}
	}
	a.answers.give(key, r)
	a.wakeNode()
	return loop.Result{}
}

// wakeNode has the Node looked at soon.
func (a *Agent) wakeNode() {
	select {
	case a.nodeWake <- loop.Key{Name: a.Node}:
	default: // it is to be already
	}
}

// setAnswers brings the answers into the node's status. A node where nothing leads to pods gives none.
func (a *Agent) setAnswers(node *corev1.Node, now time.Time) {
	if len(a.Followers) == 0 {
		return
	}
	setCondition(node, corev1.NodeCondition{
		Type: api.HandOver, Status: corev1.ConditionTrue, Reason: "NothingLeadsTo", Message: strings.Join(a.answers.given(), ","),
		LastHeartbeatTime: metav1.Time{Time: now.Truncate(time.Second)},
	})
}

// writeAnswers writes them now if another node waits for one. Those that nobody waits for any
// more go with the next heartbeat.
func (a *Agent) writeAnswers(ctx context.Context, node *corev1.Node) (conflict bool, err error) {
	have, says := nodeCondition(node, api.HandOver)
	told := strings.Split(have.Message, ",")
	if given := a.answers.given(); !says || !slices.ContainsFunc(given, func(uid string) bool { return !slices.Contains(told, uid) }) {
		return false, nil
	}
	next := node.DeepCopy()
	a.setAnswers(next, a.Clock())
	err = a.Client.Status().Patch(ctx, next, client.MergeFromWithOptions(node, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return true, nil
	}
	if err == nil {
		*node = *next
	}
	return false, err
}
