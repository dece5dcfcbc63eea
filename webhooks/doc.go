// Package webhooks takes the calls of git hosts.
//
// Two kinds of hooks come in. A BuildConfig's webhook starts a build, at OpenShift's
// own address and by its rules; the secret is part of the URL. A repository's hook,
// POST /hooks/git/<project>/<name>, makes Slipway look at a GitRepository at once; it
// is signed with the key `token` of the repository's Secret, and refused where there
// is none. Its payload supplies nothing: it only says "look now", so it can neither
// bring in state nor name an older revision.
//
// Nothing of a request's body is read before its size is known to be bounded and its
// address leads somewhere; nothing of it is parsed before it is proved genuine.
package webhooks
