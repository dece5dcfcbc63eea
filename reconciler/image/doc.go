// Package image keeps image streams, and what follows from them.
//
//	stream    spec.tags are resolved into the history of status.tags: references to
//	          outside images (imported), to other tags, to images of other streams
//	Sink      a push to the integrated registry becomes an Image and a tag's newest event
//	trigger   DeploymentConfigs with image triggers get the images that their tags name
//	promotion a git tag moves a lock file, by a commit, to the images built from its commit
//
// Git has the last word: a spec tag that names an image or another tag of its stream is
// held to it, whatever was pushed. Only what a stream imports or copies is resolved
// once for each change of the spec; which source a tag was resolved from is remembered
// in the stream's annotation slipway.dev/tag-sources.
package image
