package render

import (
	"slices"
	"sync"
	"sync/atomic"
)

// The child parses files of documents on its second processor while it hands over those
// before. It does so only with files that are too small to kill it: the parent takes the
// first file without a result for the one that did.
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
	// room holds a token for each result that was not taken yet.
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
	for i, f := range a.files[1:] {
		i++
		if len(f.data) > maxAheadBytes {
			continue
		}
		select {
		case a.room <- struct{}{}:
		case <-a.stopped:
			return
		}
		if a.claimed[i].Swap(true) {
			<-a.room
			continue
		}
		r := &a.results[i]
		r.part, r.err = f.parse()
		close(r.ready)
	}
}

// take is the result of a file if it was begun with already; otherwise the file is the
// caller's to parse.
func (a *ahead) take(i int) (part []byte, err error, parsed bool) {
	if a == nil || !a.claimed[i].Swap(true) {
		return nil, nil, false
	}
	<-a.results[i].ready
	<-a.room
	part, err = a.results[i].part, a.results[i].err
	a.results[i].part = nil
	return part, err, true
}

func (a *ahead) stop() {
	if a != nil {
		close(a.stopped)
		a.done.Wait()
	}
}
