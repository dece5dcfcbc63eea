package event

import (
	"maps"
	"time"
)

// What happens to one object for one reason, told in ever new words, would fill live state: a
// probe's answer, for one, is up to whoever runs in the pod. As with Kubernetes' recorders the
// first of such events stand for themselves, and one for all that follow.
const (
	// Similar is how many messages of one object, type and reason stand for themselves.
	Similar = 10
	// SimilarWithin is for how long they are remembered after the last.
	SimilarWithin = 10 * time.Minute
	// Combined is what the message of the event begins with that stands for the others; the
	// latest one follows.
	Combined = "(combined from similar events): "

	groupsKnown = 4096
)

// group is what is remembered of one object, type and reason.
type group struct {
	messages map[string]bool
	last     time.Time
}

// groups are guarded by the recorder's mutex.
type groups map[string]*group

// combines says whether a message is one too many to stand for itself.
func (gs groups) combines(key, message string, now time.Time) bool {
	g := gs[key]
	if g == nil || now.Sub(g.last) > SimilarWithin {
		gs.forget(now)
		g = &group{messages: map[string]bool{}}
		gs[key] = g
	}
	g.last = now
	if g.messages[message] {
		return false
	}
	if len(g.messages) >= Similar {
		return true
	}
	g.messages[message] = true
	return false
}

// forget makes room where too many are known: first of the old ones, else of all.
func (gs groups) forget(now time.Time) {
	if len(gs) < groupsKnown {
		return
	}
	maps.DeleteFunc(gs, func(_ string, g *group) bool { return now.Sub(g.last) > SimilarWithin })
	if len(gs) >= groupsKnown {
		clear(gs)
	}
}
