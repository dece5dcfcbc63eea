// Package demo plays Slipway's whole story in front of a user, against real parts: a
// git server, builds, a registry, pods, a router, on the local Docker Engine.
//
// The server runs as a process of its own (`slipway up`), so that the story can stop
// and start it, and so that everything is observed from outside: HTTP through the
// router, Docker's own list of containers, git, and the read-only API. A step that
// only looks as if it had worked fails.
package demo
