// Package lint finds what is allowed in a repository and unwise: images by a tag that
// moves, containers without limits, out-of-date ways to write things, references to what
// nobody declares, Secrets in plain text.
//
// It looks at rendered objects and at the text of files, and changes nothing. What is
// wrong, not only unwise, is for the renderer to say. A finding is silenced for one object by
// the annotation slipway.dev/lint-ignore with the names of rules, or by the caller for all.
package lint
