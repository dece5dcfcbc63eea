package nodeapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What one node may ask for. A node at work stays far below it; one that was broken into takes
// nothing from others by asking more.
const (
	// DefaultPace is how many requests a second a node may make, for long; saving is for how many
	// seconds it may have made fewer before, and make up for that.
	DefaultPace = 100
	saving      = 20
	// eventPace is how many events of them, which are kept for an hour; eventSaving as above.
	eventPace   = 5
	eventSaving = 100
	// refusalPace is how many refusals a second are written to the log, of all nodes and of strangers.
	refusalPace   = 5
	refusalSaving = 20
	// atOnce is how many requests of a node are answered at a time, streams and pulls included.
	atOnce = 128
	// strangers is how many requests for certificates are answered at a time.
	strangers = 32
	// requestBytes is how much of a body counts as much as a request.
	requestBytes = 4 << 10
)

// times are how long a node may take to send its request, and to take an answer or an event of a watch. A
// stranger's request is small, and has to come at once.
type times struct{ send, take, stranger time.Duration }

var usualTimes = times{send: 30 * time.Second, take: time.Minute, stranger: 5 * time.Second}

// pace lets things happen so many times a second, and lets what did not happen be made up for.
type pace struct {
	left float64
	at   time.Time
}

// take says whether a thing of a cost may happen now.
func (p *pace) take(now time.Time, cost, perSecond, seconds float64) bool {
	most := perSecond * seconds
	if p.at.IsZero() {
		p.left = most
	} else if passed := now.Sub(p.at).Seconds(); passed > 0 {
		p.left = min(most, p.left+passed*perSecond)
	}
	p.at = now
	if p.left < cost {
		return false
	}
	p.left -= cost
	return true
}

// usage is what a node asks for.
type usage struct {
	open             int
	requests, events pace
}

func (s *Server) usage(name string) *usage {
	u := s.uses[name]
	if u == nil {
		u = &usage{}
		s.uses[name] = u
	}
	return u
}

// enter says which node asks, and whether it asks too much. The caller calls leave when it has been answered.
func (s *Server) enter(c *gin.Context) (who caller, leave func(), err error) {
	if who, err = s.identify(c.Request); err != nil {
		return who, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.usage(who.name)
	if u.open >= atOnce {
		return who, nil, tooMuch("node %s: %d requests are under way, more are not answered", who.name, u.open)
	}
	if !u.requests.take(s.Now(), 1, s.Pace, saving) {
		return who, nil, tooMuch("node %s: more than %g requests a second", who.name, s.Pace)
	}
	u.open++
	return who, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		u.open--
	}, nil
}

// pay charges a node for what it sends, and for an event.
func (s *Server) pay(name string, bytes int, event bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, now := s.usage(name), s.Now()
	if !u.requests.take(now, float64(bytes/requestBytes), s.Pace, saving) {
		return tooMuch("node %s: it sends too much", name)
	}
	if event && !u.events.take(now, 1, eventPace, eventSaving) {
		return tooMuch("node %s: more than %d events a second", name, eventPace)
	}
	return nil
}

func tooMuch(format string, args ...any) error {
	return apierrors.NewTooManyRequests(fmt.Sprintf(format, args...), 1)
}

// deadlines are those of one request. Where a connection has none there is nothing to set, which no
// connection of TLS is.
type deadlines struct{ *http.ResponseController }

func deadlinesOf(c *gin.Context) deadlines {
	return deadlines{http.NewResponseController(c.Writer)}
}

// read bounds a reading of the body. Where that fails the bound stays: nobody waits for the rest.
func (d deadlines) read(t time.Duration, body io.Reader) ([]byte, error) {
	_ = d.SetReadDeadline(time.Now().Add(t))
	data, err := io.ReadAll(body)
	if err == nil {
		_ = d.SetReadDeadline(time.Time{})
	}
	return data, err
}

// write bounds the writing of what comes next, until the caller calls over.
func (d deadlines) write(t time.Duration) (over func()) {
	_ = d.SetWriteDeadline(time.Now().Add(t))
	return func() { _ = d.SetWriteDeadline(time.Time{}) }
}

// guard ends a context when its node is shut out, its certificate ends, or live state does not answer: then nobody
// would hear of changes here.
func (s *Server) guard(ctx context.Context, who caller, life time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, life)
	go func() {
		for tick := time.NewTicker(recheck); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				if s.still(ctx, who) != nil {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}
