package api

import (
	"fmt"
	"strings"
)

// ParseImageStreamTag splits `stream:tag`.
func ParseImageStreamTag(name string) (stream, tag string, err error) {
	stream, tag, ok := strings.Cut(name, ":")
	if !ok || imageStreamName(stream, false) != nil || !IsTag(tag) {
		return "", "", fmt.Errorf("must be in the form of <stream>:<tag>")
	}
	return stream, tag, nil
}

// ImageStreamTagName is `stream:tag`.
func ImageStreamTagName(stream, tag string) string { return stream + ":" + tag }

// ParseImageStreamImage splits `stream@sha256:…`.
func ParseImageStreamImage(name string) (stream, digest string, err error) {
	stream, digest, ok := strings.Cut(name, "@")
	if !ok || imageStreamName(stream, false) != nil || !IsDigest(digest) {
		return "", "", fmt.Errorf("must be in the form of <stream>@sha256:<64 hexadecimal digits>")
	}
	return stream, digest, nil
}

// ImageStreamImageName is `stream@digest`.
func ImageStreamImageName(stream, digest string) string { return stream + "@" + digest }

// StreamTag names a tag of a stream of a project.
type StreamTag struct {
	Namespace, Stream, Tag string
}

// ParseStreamTag reads `stream:tag` or `namespace/stream:tag`; without a namespace it
// is the given one.
func ParseStreamTag(s, namespace string) (StreamTag, error) {
	name := s
	if ns, rest, ok := strings.Cut(s, "/"); ok {
		namespace, name = ns, rest
	}
	stream, tag, err := ParseImageStreamTag(name)
	if err != nil || namespace == "" || strings.Contains(namespace, ":") {
		return StreamTag{}, fmt.Errorf("image stream tag %q: must be in the form of [<project>/]<stream>:<tag>", s)
	}
	return StreamTag{Namespace: namespace, Stream: stream, Tag: tag}, nil
}

// String is `namespace/stream:tag`.
func (t StreamTag) String() string { return t.Namespace + "/" + t.Stream + ":" + t.Tag }
