package router

import (
	"net/http"
	"strconv"
)

// unavailable is what a client sees where there is nothing to serve: the same for an
// unknown host and for a route without pods, so that hosts cannot be guessed.
const unavailable = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Application is not available</title>
<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:10vh auto;padding:0 1em;color:#222}h1{font-weight:300}</style></head>
<body>
<h1>Application is not available</h1>
<p>The application is currently not serving requests at this endpoint. It may not have been started or is still starting.</p>
<p>Possible reasons you are seeing this page:</p>
<ul>
<li><b>The host does not exist.</b> Make sure the host name was typed correctly and that a route for it exists.</li>
<li><b>The host exists, but has no matching path.</b> Check that the path of the URL was typed correctly.</li>
<li><b>Route and path match, but no pod is ready.</b> Make sure that the pods behind the route are running.</li>
</ul>
</body></html>
`

func serveUnavailable(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(unavailable)))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(unavailable)) // a client that has gone needs no page
}

func servePlain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // as above
}
