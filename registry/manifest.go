package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
)

// The media types of manifests that are accepted.
const (
	typeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	typeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

var acceptedTypes = map[string]bool{typeOCIManifest: true, typeOCIIndex: true, typeDockerManifest: true, typeDockerList: true}

// maxManifest is the largest manifest, in bytes: what the specification asks for at least.
const maxManifest = 4 << 20

// descriptor is the specification's reference to content.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

// manifest is what the registry needs to know of one.
type manifest struct {
	mediaType string
	// blobs and manifests are what has to be in the repository: config and layers of an
	// image, the members of an index.
	blobs     []reference
	manifests []reference
	// config is the zero digest for an index.
	config digest
	// subject is what the manifest is about, the zero digest for none; it may be missing
	// from the repository.
	subject      digest
	artifactType string
	annotations  map[string]string
	// size is what config and layers need, in bytes.
	size int64
}

// reference is a descriptor which was looked at, and the field it is in.
type reference struct {
	digest digest
	size   int64
	field  string
}

type manifestJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests"`
	Subject       *descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// parseManifest checks a manifest's form. contentType is the request's, which must
// agree with what the manifest says of itself. A manifest that one client could read as
// an image and another as an index is refused.
func parseManifest(contentType string, content []byte) (*manifest, error) {
	keys, err := topKeys(content)
	if err != nil {
		return nil, errManifestInvalid.with("%v", err)
	}
	var j manifestJSON
	if err := json.Unmarshal(content, &j); err != nil {
		return nil, errManifestInvalid.with("%v", err)
	}
	mediaType, err := agreedType(contentType, j.MediaType)
	if err != nil {
		return nil, errManifestInvalid.with("%v", err)
	}
	if j.SchemaVersion != 2 {
		return nil, errManifestInvalid.with("schemaVersion is %d, only 2 is supported", j.SchemaVersion)
	}
	m := &manifest{mediaType: mediaType, artifactType: j.ArtifactType, annotations: j.Annotations}
	switch mediaType {
	case typeOCIManifest, typeDockerManifest:
		if keys["manifests"] {
			return nil, errManifestInvalid.with("manifests: an image has none; is it an index?")
		}
		err = m.image(j)
	default:
		if keys["config"] || keys["layers"] || keys["fsLayers"] {
			return nil, errManifestInvalid.with("config, layers: an index has none; is it an image?")
		}
		err = m.index(j)
	}
	if err != nil {
		return nil, errManifestInvalid.with("%v", err)
	}
	if j.Subject != nil {
		ref, err := j.Subject.reference("subject")
		if err != nil {
			return nil, errManifestInvalid.with("%v", err)
		}
		m.subject = ref.digest
	}
	return m, nil
}

func (m *manifest) image(j manifestJSON) error {
	if j.Config == nil {
		return fmt.Errorf("config: missing")
	}
	config, err := j.Config.reference("config")
	if err != nil {
		return err
	}
	m.config, m.size = config.digest, config.size
	m.blobs = append(m.blobs, config)
	if m.artifactType == "" {
		m.artifactType = j.Config.MediaType
	}
	for i, l := range j.Layers {
		ref, err := l.reference(fmt.Sprintf("layers[%d]", i))
		if err != nil {
			return err
		}
		m.size += ref.size
		if m.size < 0 {
			return fmt.Errorf("layers[%d].size: the sum of all sizes is too large", i)
		}
		// Layers that must not be distributed stay where their URLs say.
		if len(l.URLs) == 0 && !strings.Contains(l.MediaType, "foreign") && !strings.Contains(l.MediaType, "nondistributable") {
			m.blobs = append(m.blobs, ref)
		}
	}
	return nil
}

func (m *manifest) index(j manifestJSON) error {
	for i, d := range j.Manifests {
		ref, err := d.reference(fmt.Sprintf("manifests[%d]", i))
		if err != nil {
			return err
		}
		m.manifests = append(m.manifests, ref)
	}
	return nil
}

func (d descriptor) reference(field string) (reference, error) {
	sum, err := parseDigest(d.Digest)
	if err != nil {
		return reference{}, fmt.Errorf("%s.digest: %w", field, err)
	}
	if d.Size < 0 {
		return reference{}, fmt.Errorf("%s.size: %d is negative", field, d.Size)
	}
	return reference{sum, d.Size, field}, nil
}

// agreedType is the media type on which the request and the manifest agree.
func agreedType(contentType, own string) (string, error) {
	said := own
	if contentType != "" {
		parsed, _, err := mime.ParseMediaType(contentType)
		if err != nil {
			return "", fmt.Errorf("Content-Type %q: %w", clip(contentType), err)
		}
		said = parsed
	}
	if own != "" && own != said {
		return "", fmt.Errorf("mediaType is %q, but Content-Type says %q", clip(own), clip(said))
	}
	if acceptedTypes[said] {
		return said, nil
	}
	return "", fmt.Errorf("mediaType %q is not supported; want an OCI or Docker (schema 2) manifest, index or list", clip(said))
}

// decisive are the fields that say what a manifest is and refers to.
var decisive = []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "fsLayers", "annotations"}

// topKeys lists the keys of a JSON object. It refuses what readers understand
// differently: a key that comes twice, one that differs from a decisive one by case
// only, and anything after the object.
func topKeys(content []byte) (map[string]bool, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	open, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if open != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	keys := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := t.(string) // the decoder allows nothing else before a colon
		for _, name := range decisive {
			if key != name && strings.EqualFold(key, name) {
				return nil, fmt.Errorf("%q: write %q", clip(key), name)
			}
		}
		if keys[key] {
			return nil, fmt.Errorf("%q comes twice", clip(key))
		}
		keys[key] = true
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("something follows the JSON object")
	}
	return keys, nil
}
