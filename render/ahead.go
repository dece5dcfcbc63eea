package render

import (
	"slices"
	"sync"
	"sync/atomic"
)

// The child parses files of documents before their turn, on its second processor and on the
// first while the file whose turn it is is at work on the second. It does so only with
// files that are too small to kill it: the parent takes the first file without a result for
// the one that did.
const (
	maxAheadBytes = 64 << 10
	maxAheadFiles = 32
)

// ahead holds what was parsed before its turn; nil: nothing.
type ahead struct {
	files []content
	// claimed says of each file that one of the two has begun with it.
	claimed []atomic.Bool
	results []parsed
	// room holds a token for each file that was begun with before its turn and not taken yet.
	room    chan struct{}
	stopped chan struct{}
	done    sync.WaitGroup
}

type parsed struct {
	part  []byte
	err   error
	ready chan struct{}
}

// ahead begins to parse the job's files but for the first, from the front. A job with
// Jsonnet has its processor time for itself.
func (j job) ahead() *ahead {
	if len(j.files) < 2 || slices.ContainsFunc(j.files, func(f content) bool { return isJsonnet(f.name) }) {
		return nil
	}
	a := &ahead{
		files: j.files, claimed: make([]atomic.Bool, len(j.files)), results: make([]parsed, len(j.files)),
		room: make(chan struct{}, maxAheadFiles), stopped: make(chan struct{}),
	}
	for i := range a.results {
		a.results[i].ready = make(chan struct{})
	}
	a.done.Go(a.run)
	return a
}

func (a *ahead) run() {
	for i := 1; i < len(a.files); i++ {
		select {
		case a.room <- struct{}{}:
			a.parse(i)
		case <-a.stopped:
			return
		}
	}
}

// parse parses a file if nobody has begun with it and it is small. It takes one token of room,
// which stays taken with the result.
func (a *ahead) parse(i int) {
	if len(a.files[i].data) > maxAheadBytes || a.claimed[i].Swap(true) {
		<-a.room
		return
	}
	r := &a.results[i]
	r.part, r.err = a.files[i].parse()
	close(r.ready)
}

// take is the result of a file if it was begun with already, and parses files after it until
// there is one; otherwise the file is the caller's to parse.
func (a *ahead) take(i int) (part []byte, err error, parsed bool) {
	if a == nil || !a.claimed[i].Swap(true) {
		return nil, nil, false
	}
	r := &a.results[i]
	for later := i + 1; later < len(a.files) && !r.isReady() && a.hasRoom(); later++ {
		a.parse(later)
	}
	<-r.ready
	<-a.room
	part, err = r.part, r.err
	r.part = nil
	return part, err, true
}

func (r *parsed) isReady() bool {
	select {
	case <-r.ready:
		return true
	default:
		return false
	}
}

// hasRoom takes a token if there is one.
func (a *ahead) hasRoom() bool {
	select {
	case a.room <- struct{}{}:
		return true
	default:
		return false
	}
}

func (a *ahead) stop() {
	if a != nil {
		close(a.stopped)
		a.done.Wait()
	}
}
