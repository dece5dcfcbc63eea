package image

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	imagev1 "github.com/openshift/api/image/v1"
	"github.com/openshift/library-go/pkg/image/reference"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// annotationSources remembers what each tag was last resolved from.
const annotationSources = "slipway.dev/tag-sources"

// Times of imports.
const (
	// scheduledEvery is how often a scheduled tag is looked up again.
	scheduledEvery = 15 * time.Minute
	// retryAfter is how long after a failed import it is tried again.
	retryAfter = time.Minute
)

// remembered is what a tag was last resolved from.
type remembered struct {
	// Source says it in one string; another string means that the spec tag changed.
	Source string `json:"source"`
	// Generation of the stream when it changed to that.
	Generation int64 `json:"generation"`
	// Checked is when an import last looked; zero for everything else.
	Checked time.Time `json:"checked,omitzero"`
	// Failed says that this look found nothing.
	Failed bool `json:"failed,omitempty"`
}

func readMemory(s *imagev1.ImageStream) map[string]remembered {
	m := map[string]remembered{}
	// What cannot be read is forgotten: every tag is resolved again.
	if err := json.Unmarshal([]byte(s.Annotations[annotationSources]), &m); err != nil {
		return map[string]remembered{}
	}
	return m
}

// Kind of work that a spec tag asks for.
type workKind int

const (
	// nothing: the tag has no source, or what was resolved holds until the spec changes.
	nothing workKind = iota
	// follow another tag of the same stream, always.
	follow
	// pin to one image of a stream, always.
	pin
	// copied from another stream's tag, once.
	copied
	// record the reference as it is.
	record
	// imported from an outside registry.
	imported
)

// work is what one spec tag asks for.
type work struct {
	kind workKind
	// stream and tag or image that it names, for follow, copied and pin.
	stream     loop.Key
	tag, image string
	// reference to record or to import.
	reference reference.DockerImageReference
	// remember is what to remember when it is done.
	remember remembered
	// again is when an import is due next; 0: never.
	again time.Duration
}

// planTag says what a spec tag asks for, given what it was resolved from before.
func planTag(s *imagev1.ImageStream, t imagev1.TagReference, before remembered, registry string, now time.Time) (work, error) {
	if t.From == nil || t.From.Name == "" {
		return work{}, nil
	}
	namespace := t.From.Namespace
	if namespace == "" {
		namespace = s.Namespace
	}
	w := work{remember: remembered{
		Source:     strings.Join([]string{t.From.Kind, namespace, t.From.Name, fmt.Sprint(t.Reference), string(t.ImportPolicy.ImportMode)}, " "),
		Generation: s.Generation,
	}}
	changed := w.remember.Source != before.Source
	if !changed {
		w.remember = before
	}
	switch t.From.Kind {
	case "ImageStreamImage":
		stream, digest, err := api.ParseImageStreamImage(t.From.Name)
		if err != nil {
			return w, fmt.Errorf("image stream image %q: %w", t.From.Name, err)
		}
		w.kind, w.stream, w.image = pin, loop.Key{Namespace: namespace, Name: stream}, digest
	case "ImageStreamTag", "":
		stream, tag, qualified := strings.Cut(t.From.Name, ":")
		if !qualified {
			stream, tag = s.Name, t.From.Name
		}
		w.stream, w.tag = loop.Key{Namespace: namespace, Name: stream}, tag
		if namespace == s.Namespace && stream == s.Name {
			w.kind = follow
		} else if changed || before.Failed {
			w.kind = copied
		}
	case "DockerImage":
		return planImport(w, t, changed, before, registry, now)
	default:
		return w, fmt.Errorf("kind %q: want DockerImage, ImageStreamTag or ImageStreamImage", t.From.Kind)
	}
	return w, nil
}

func planImport(w work, t imagev1.TagReference, changed bool, before remembered, registry string, now time.Time) (work, error) {
	ref, err := reference.Parse(t.From.Name)
	if err != nil {
		return w, fmt.Errorf("image reference %q: %w", t.From.Name, err)
	}
	w.reference = ref
	switch {
	case t.Reference:
		w.kind = record
		return w, nil
	case ref.Registry == registry && registry != "":
		// The integrated registry's images are known without asking it.
		w.stream = loop.Key{Namespace: ref.Namespace, Name: ref.Name}
		if ref.ID != "" {
			w.kind, w.image = pin, ref.ID
		} else if changed || before.Failed {
			w.kind, w.tag = copied, ref.DockerClientDefaults().Tag
		}
		return w, nil
	}
	due := time.Duration(0)
	switch {
	case changed:
	case before.Failed:
		due = before.Checked.Add(retryAfter).Sub(now)
	case t.ImportPolicy.Scheduled && ref.ID == "":
		due = before.Checked.Add(scheduledEvery).Sub(now)
	default:
		return w, nil
	}
	if due > 0 {
		w.again = due
		return w, nil
	}
	w.kind = imported
	w.remember.Checked = now.UTC().Truncate(time.Second)
	return w, nil
}
