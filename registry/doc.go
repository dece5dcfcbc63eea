// Package registry keeps images at rest: the OCI distribution API 1.1 over a
// content-addressed store on disk.
//
// The HTTP layer parses a path, asks the Authorizer, and calls the store; the store
// knows nothing of HTTP. Blobs are streamed and never held in memory. A manifest is
// looked at once, when it is pushed: its JSON must be unambiguous, everything it refers
// to must be in the same repository, and its digest must be right. Only then is it made
// durable, tagged, and handed to the Sink, so that an image stream knows of a push
// before the client is told that it succeeded.
//
// The store's layout, and what makes it survive a crash at any line, is written down in
// layout.go.
package registry
