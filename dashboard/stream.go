package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	// heartbeat keeps proxies from taking a quiet stream for a dead one.
	heartbeat = 15 * time.Second
	// gather is how long changes are collected before they are told together.
	gather = 40 * time.Millisecond
)

// stream tells a page what changes, as server-sent events: first `ready`, when nothing
// can be missed any more, then a `change` for each kind and project.
func (d *Dashboard) stream(c *gin.Context) {
	if foreign(c.Request) {
		d.pageError(c, http.StatusForbidden, "This stream is for pages of this server only.")
		return
	}
	ctx := c.Request.Context()
	one, done, err := d.live.listen(ctx)
	if err != nil {
		d.answerError(c, err)
		return
	}
	defer done()
	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no")
	send := func(format string, args ...any) bool {
		_, err := fmt.Fprintf(c.Writer, format, args...)
		c.Writer.Flush()
		return err == nil
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for ok := send("retry: 1000\nevent: ready\ndata: {}\n\n"); ok; {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			ok = send(": still here\n\n")
		case <-one.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(gather):
			}
			for _, what := range one.take() {
				data, err := json.Marshal(what)
				if err != nil {
					panic(err) // two strings always marshal
				}
				ok = ok && send("event: change\ndata: %s\n\n", data)
			}
		}
	}
}

// foreign says whether another site's page makes the request.
func foreign(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}
