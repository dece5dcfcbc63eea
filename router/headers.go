package router

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwardedHeaders say who the client is. Only the router may say it: what a client
// sends under these names is dropped.
var forwardedHeaders = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Server",
	"X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Real-Ip", "X-Client-Ip", "Proxy", "X-Original-Url", "X-Rewrite-Url",
}

// untouchable are headers that naming them in Connection does not remove: a client must
// not be able to take away what the router, or a proxy before it, says of him.
func untouchable(name string) bool {
	name = canonical(name)
	switch name {
	case "Authorization", "Cookie", "Host", "Content-Length", "Content-Type", "Origin":
		return true
	}
	return spoofable(name)
}

// canonical is a header's name as servers understand it that make no difference
// between dashes and underscores.
func canonical(name string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(strings.TrimSpace(name), "_", "-"))
}

func spoofable(name string) bool {
	if strings.HasPrefix(name, "X-Ssl-") || strings.HasPrefix(name, "X-Forwarded-") {
		return true
	}
	for _, h := range forwardedHeaders {
		if name == h {
			return true
		}
	}
	return false
}

// sanitize removes from an incoming request what the client may not say, before the
// reverse proxy removes the hop-by-hop headers.
func sanitize(h http.Header) {
	for name := range h {
		if spoofable(canonical(name)) {
			delete(h, name)
		}
	}
	named := h.Values("Connection")
	if len(named) == 0 {
		return
	}
	var keep []string
	for _, value := range named {
		for token := range strings.SplitSeq(value, ",") {
			if token = strings.TrimSpace(token); token != "" && !untouchable(token) {
				keep = append(keep, token)
			}
		}
	}
	h.Del("Connection")
	if len(keep) > 0 {
		h.Set("Connection", strings.Join(keep, ", "))
	}
}

// announce tells the backend who the client is and how it came.
func announce(h http.Header, client netip.Addr, host, proto, port string) {
	h.Set("X-Forwarded-For", client.String())
	h.Set("X-Forwarded-Host", host)
	h.Set("X-Forwarded-Port", port)
	h.Set("X-Forwarded-Proto", proto)
	node := client.String()
	if client.Is6() {
		node = `"[` + node + `]"`
	}
	h.Set("Forwarded", "for="+node+";host="+quoted(host)+";proto="+proto)
}

// quoted makes a value a token or a quoted string of RFC 7239.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == "" {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
