// Package builder runs, on a node's Docker Engine, the Builds that are bound to the
// node: source in, image out, pushed to the registry.
//
// A build fetches its source as a tree (nothing is checked out), pulls its base image
// by digest, builds by the Docker or the Source (S2I) strategy, runs the postCommit
// hook in the new image, pushes it and reports the digest. Everything about the image
// that follows from the build (environment, labels) is decided by pure functions.
//
// Not done here, and refused or said in the build's status: the Custom and Jenkins
// strategies, binary sources, S2I scripts from URLs other than image://, ONBUILD in S2I
// builder images, $(NAME) in the values of variables.
//
// A build that was running when the process died starts again from the beginning:
// nothing that it did is visible before its push, and a push of the same content is
// the same image.
package builder
