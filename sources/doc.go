// Package sources brings git in and takes commits out.
//
// Every repository has a bare mirror on disk, in a folder named by a digest of its
// URL, which git itself can read:
//
//	<data>/<digest>/HEAD          which branch the repository's HEAD names
//	<data>/<digest>/packed-refs   every branch and tag at the last good look
//	<data>/<digest>/objects/      what they reach, and what they reached before
//
// A look is one request for the references and, only if they moved, one for the
// objects. References are replaced as a whole, by a rename, after every object they
// reach is stored: a crash leaves the mirror as it was before. Reference names never
// become file names. Objects are never dropped, so that the last good revision of a
// repository outlives a forced push, a vanished branch, an emptied repository and a
// server that is away.
//
// A mirror that was fetched with credentials is shared within its project only; one
// that needed none is shared by everybody who names its URL.
package sources
