package dns

import (
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// The bounds of what is kept: answers, and how long (RFC 2308 for what does not exist).
const (
	mostKept      = 4096
	longestKept   = time.Hour
	longestAbsent = 5 * time.Minute
)

// cache keeps answers of other resolvers as long as their records live. The zero value is
// empty; it may be used from several goroutines.
type cache struct {
	mu   sync.Mutex
	kept map[dns.Question]keptAnswer // guarded by mu
}

type keptAnswer struct {
	answer       *dns.Msg
	since, until time.Time
}

// get is a copy of an answer whose records have grown older, or nil.
func (c *cache) get(q dns.Question, now time.Time) *dns.Msg {
	c.mu.Lock()
	k, ok := c.kept[caseless(q)]
	c.mu.Unlock()
	if !ok || !now.Before(k.until) || now.Before(k.since) {
		return nil
	}
	age := uint32(now.Sub(k.since) / time.Second)
	out := k.answer.Copy()
	for _, section := range [][]dns.RR{out.Answer, out.Ns, out.Extra} {
		for _, rr := range section {
			h := rr.Header()
			if h.Rrtype == dns.TypeOPT {
				continue // Its field of that name says something else.
			}
			h.Ttl -= min(age, h.Ttl)
			if strings.EqualFold(h.Name, q.Name) {
				h.Name = q.Name // Some clients look for the case in which they asked.
			}
		}
	}
	return out
}

// put keeps an answer, if it may be kept.
func (c *cache) put(q dns.Question, answer *dns.Msg, now time.Time) {
	life := lifeOf(answer)
	if life <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = map[dns.Question]keptAnswer{}
	}
	if len(c.kept) >= mostKept {
		c.makeRoom(now)
	}
	c.kept[caseless(q)] = keptAnswer{answer.Copy(), now, now.Add(life)}
}

// makeRoom drops what is over, and if that is nothing, some of the others. It needs mu held.
func (c *cache) makeRoom(now time.Time) {
	for q, k := range c.kept {
		if !now.Before(k.until) {
			delete(c.kept, q)
		}
	}
	for q := range c.kept {
		if len(c.kept) < mostKept*3/4 {
			return
		}
		delete(c.kept, q)
	}
}

func caseless(q dns.Question) dns.Question {
	q.Name = strings.ToLower(q.Name)
	return q
}

// lifeOf is how long an answer may be kept: as long as the record that ends first.
func lifeOf(m *dns.Msg) time.Duration {
	if m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 {
		life := longestKept
		for _, rr := range m.Answer {
			life = min(life, time.Duration(rr.Header().Ttl)*time.Second)
		}
		return life
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(longestAbsent, time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second)
		}
	}
	return 0 // Without one nobody says how long it holds.
}
