package router

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"

	"github.com/gin-gonic/gin"
)

// proxy answers requests by the table of the moment.
type proxy struct {
	router  *Router
	reverse *httputil.ReverseProxy
}

func newProxy(r *Router) http.Handler {
	p := &proxy{router: r}
	p.reverse = newReverse(p)
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.RedirectTrailingSlash = false
	// Tenants own every path, so the engine has no routes of its own.
	engine.NoRoute(func(c *gin.Context) { p.serve(c.Writer, c.Request) })
	return engine
}

func newReverse(p *proxy) *httputil.ReverseProxy {
	r := p.router
	return &httputil.ReverseProxy{
		Transport:      &forward{scheduler: r.scheduler, again: r.again, now: r.now},
		Rewrite:        p.rewrite,
		ModifyResponse: p.modify,
		ErrorHandler:   p.failed,
		BufferPool:     &bufferPool{},
		ErrorLog:       slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
		FlushInterval:  -1, // what a pod sends goes out at once
	}
}

func (p *proxy) serve(w http.ResponseWriter, req *http.Request) {
	host := normalHost(req.Host)
	rule := p.router.Table().Match(host, normalPath(req.URL.Path))
	if rule == nil {
		serveUnavailable(w)
		return
	}
	count := p.router.stats.of(rule.Route)
	w = &counted{ResponseWriter: w, counters: count}
	switch {
	case req.Method == http.MethodConnect || req.Method == http.MethodTrace:
		servePlain(w, http.StatusMethodNotAllowed, "method not allowed")
	case !rule.allows(clientAddr(req)):
		servePlain(w, http.StatusForbidden, "forbidden")
	case req.TLS != nil && req.TLS.ServerName != "" && normalHost(req.TLS.ServerName) != host:
		// Certificate and verification were those of another host.
		servePlain(w, http.StatusMisdirectedRequest, "this connection was made for another host")
	case req.TLS == nil && rule.Insecure == InsecureRedirect:
		p.redirect(w, req, host)
	case !rule.answers(req.TLS != nil):
		serveUnavailable(w)
	default:
		p.forward(w, req, rule, count)
	}
}

// answers says whether HTTP requests of the rule are served with, or without, TLS. A
// passthrough rule never has any: its connections are not looked into.
func (r *Rule) answers(secure bool) bool {
	switch r.Termination {
	case Plain:
		return !secure
	case Edge, Reencrypt:
		return secure || r.Insecure == InsecureAllow
	}
	return false
}

func (p *proxy) redirect(w http.ResponseWriter, req *http.Request, host string) {
	if port := p.router.HTTPSAddr().Port(); port != 443 && port != 0 {
		host += ":" + strconv.Itoa(int(port))
	}
	u := *req.URL
	u.Scheme, u.Host = "https", host
	w.Header().Set("Location", u.String())
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusFound)
}

func (p *proxy) forward(w http.ResponseWriter, req *http.Request, rule *Rule, count *counters) {
	j := &journey{rule: rule, client: clientAddr(req)}
	if rule.Cookie != "" {
		if c, err := req.Cookie(rule.Cookie); err == nil {
			j.cookie = c.Value
		}
	}
	if len(req.TransferEncoding) > 0 && req.ProtoMajor == 1 {
		// The library drops a Content-Length beside it, so that it cannot be told apart
		// from a smuggling attempt: nothing that follows on this connection is read.
		w.Header().Set("Connection", "close")
	}
	sanitize(req.Header)
	p.reverse.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), journeyKey{}, j)))
	if j.retries > 0 {
		count.retries.Add(uint64(j.retries))
	}
	if j.backend == nil {
		count.failures.Add(1)
	}
}

// rewrite makes the outgoing request: the same host and path, and who the client is.
func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme = "http" // the attempt says better
	r.Out.URL.Host = r.In.Host
	r.Out.Host = r.In.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	proto, port := "http", p.router.HTTPAddr().Port()
	if r.In.TLS != nil {
		proto, port = "https", p.router.HTTPSAddr().Port()
	}
	announce(r.Out.Header, clientAddr(r.In), r.In.Host, proto, strconv.Itoa(int(port)))
}

// modify adds the route's headers to a response.
func (p *proxy) modify(resp *http.Response) error {
	j := resp.Request.Context().Value(journeyKey{}).(*journey)
	rule := j.rule
	if rule.Cookie != "" && j.cookie != j.backend.id {
		c := http.Cookie{Name: rule.Cookie, Value: j.backend.id, Path: "/", HttpOnly: true, Secure: rule.CookieSecure}
		resp.Header.Add("Set-Cookie", c.String())
	}
	if rule.HSTS != "" && rule.Termination != Plain {
		resp.Header.Set("Strict-Transport-Security", rule.HSTS)
	}
	return nil
}

// failed answers for a request that no backend answered.
func (p *proxy) failed(w http.ResponseWriter, req *http.Request, err error) {
	if req.Context().Err() != nil {
		// The client has gone: whatever is written is lost, and counts as its doing.
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	route := ""
	if j, ok := req.Context().Value(journeyKey{}).(*journey); ok {
		route = j.rule.Route.String()
	}
	switch {
	case errors.Is(err, errNoEndpoints):
		serveUnavailable(w)
	case errors.Is(err, errStalled):
		p.router.log.Warn("router: backend timed out", "route", route)
		servePlain(w, http.StatusGatewayTimeout, "the application did not answer in time")
	case isDial(err):
		p.router.log.Warn("router: no backend accepts connections", "route", route, "error", err)
		serveUnavailable(w)
	default:
		p.router.log.Warn("router: backend failed", "route", route, "error", err)
		servePlain(w, http.StatusBadGateway, "the application broke off the connection")
	}
}

// counted counts the response's status.
type counted struct {
	http.ResponseWriter
	*counters
	done bool
}

func (c *counted) WriteHeader(status int) {
	if !c.done && status >= 200 {
		c.done = true
		c.status[min(status/100, 5)].Add(1)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController hijack and flush.
func (c *counted) Unwrap() http.ResponseWriter {
	if !c.done { // a hijacked connection switches protocols
		c.done = true
		c.status[1].Add(1)
	}
	return c.ResponseWriter
}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *bufferPool) Put(p []byte) { b.pool.Put(&p) }
