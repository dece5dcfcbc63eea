package api

import (
	"regexp"
	"strings"

	imagev1 "github.com/openshift/api/image/v1"
	"github.com/openshift/library-go/pkg/image/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	repositoryComponent = regexp.MustCompile(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$`)
	imageTag            = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	imageDigest         = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// imageStreamName is a component of a repository's path in a registry, since that is
// what it becomes.
func imageStreamName(name string, prefix bool) []string {
	if prefix {
		name = strings.TrimSuffix(name, "-")
	}
	if !repositoryComponent.MatchString(name) {
		return []string{"must be a path component of an image repository: lower-case letters and digits, joined by '.', '_', '__' or dashes"}
	}
	if len(name) > validation.DNS1123SubdomainMaxLength {
		return []string{validation.MaxLenError(validation.DNS1123SubdomainMaxLength)}
	}
	return nil
}

// IsTag says whether a word can be an image's tag.
func IsTag(tag string) bool { return imageTag.MatchString(tag) }

// IsDigest says whether a word is a sha256 digest.
func IsDigest(digest string) bool { return imageDigest.MatchString(digest) }

func pullSpec(p *field.Path, image string) field.ErrorList {
	ref, err := reference.Parse(image)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(p, image, "is not an image reference: "+err.Error())}
	case ref.Name == "":
		return field.ErrorList{field.Invalid(p, image, "is not an image reference: names a registry only")}
	case strings.ToLower(ref.Namespace+ref.Name) != ref.Namespace+ref.Name:
		return field.ErrorList{field.Invalid(p, image, "is not an image reference: a repository's name must be lower case")}
	}
	return nil
}

func defaultImageStream(s *imagev1.ImageStream) {
	for i := range s.Spec.Tags {
		t := &s.Spec.Tags[i]
		setDefault(&t.ReferencePolicy.Type, imagev1.SourceTagReferencePolicy)
		setDefault(&t.ImportPolicy.ImportMode, imagev1.ImportModeLegacy)
		if t.From != nil {
			setDefault(&t.From.Kind, "ImageStreamTag")
		}
	}
}

func validateImageStream(s *imagev1.ImageStream) field.ErrorList {
	var errs field.ErrorList
	if name := s.Namespace + "/" + s.Name; len(name) > 255 {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), s.Name, "'namespace/name' cannot be longer than 255 characters"))
	}
	spec := field.NewPath("spec")
	if r := s.Spec.DockerImageRepository; r != "" {
		at := spec.Child("dockerImageRepository")
		if ref, err := reference.Parse(r); err != nil {
			errs = append(errs, field.Invalid(at, r, err.Error()))
		} else if ref.Tag != "" || ref.ID != "" {
			errs = append(errs, field.Invalid(at, r, "the repository name may not contain a tag or an ID"))
		}
	}
	names := sets.New[string]()
	for i := range s.Spec.Tags {
		t, at := &s.Spec.Tags[i], spec.Child("tags").Index(i)
		errs = append(errs, validateTag(t, at)...)
		if names.Has(t.Name) && t.Name != "" {
			errs = append(errs, field.Duplicate(at.Child("name"), t.Name))
		}
		names.Insert(t.Name)
	}
	return errs
}

func validateTag(t *imagev1.TagReference, p *field.Path) field.ErrorList {
	errs := named(p.Child("name"), t.Name, func(s string) []string {
		if IsTag(s) {
			return nil
		}
		return []string{"must be an image tag: " + imageTag.String()}
	})
	errs = append(errs, oneOf(p.Child("referencePolicy", "type"), t.ReferencePolicy.Type, imagev1.SourceTagReferencePolicy, imagev1.LocalTagReferencePolicy)...)
	errs = append(errs, oneOf(p.Child("importPolicy", "importMode"), t.ImportPolicy.ImportMode, imagev1.ImportModeLegacy, imagev1.ImportModePreserveOriginal)...)
	if t.From == nil {
		return errs
	}
	from := p.Child("from")
	switch t.From.Kind {
	case "DockerImage":
		errs = append(errs, validateImageFrom(t.From, from, "DockerImage")...)
		if ref, err := reference.Parse(t.From.Name); err == nil && ref.ID != "" && t.ImportPolicy.Scheduled {
			errs = append(errs, field.Invalid(from.Child("name"), t.From.Name, "only tags can be scheduled for import"))
		}
	case "ImageStreamTag", "ImageStreamImage":
		// A name without a colon is another tag of the same stream.
		if t.From.Kind == "ImageStreamImage" || strings.Contains(t.From.Name, ":") {
			errs = append(errs, validateImageFrom(t.From, from, t.From.Kind)...)
		} else {
			errs = append(errs, named(from.Child("name"), t.From.Name, func(string) []string { return nil })...)
		}
		if t.ImportPolicy.Scheduled {
			errs = append(errs, field.Invalid(p.Child("importPolicy", "scheduled"), true, "only tags pointing to Docker repositories may be scheduled for background import"))
		}
	default:
		errs = append(errs, oneOf(from.Child("kind"), t.From.Kind, "DockerImage", "ImageStreamTag", "ImageStreamImage")...)
	}
	return errs
}

// validateImageFrom checks a reference to an image by one of the allowed kinds.
func validateImageFrom(r *corev1.ObjectReference, p *field.Path, kinds ...string) field.ErrorList {
	errs := oneOf(p.Child("kind"), r.Kind, kinds...)
	at := p.Child("name")
	if r.Name == "" {
		return append(errs, field.Required(at, ""))
	}
	if r.Namespace != "" {
		errs = append(errs, invalid(p.Child("namespace"), r.Namespace, validation.IsDNS1123Label(r.Namespace))...)
	}
	var err error
	switch r.Kind {
	case "DockerImage":
		return append(errs, pullSpec(at, r.Name)...)
	case "ImageStreamTag":
		_, _, err = ParseImageStreamTag(r.Name)
	case "ImageStreamImage":
		_, _, err = ParseImageStreamImage(r.Name)
	}
	if err != nil {
		errs = append(errs, field.Invalid(at, r.Name, err.Error()))
	}
	return errs
}

func validateImage(i *imagev1.Image) field.ErrorList {
	return named(field.NewPath("dockerImageReference"), i.DockerImageReference, func(string) []string { return nil })
}

// updateImage keeps the content, which the name is the digest of.
func updateImage(n, old *imagev1.Image) field.ErrorList {
	errs := immutable(n.DockerImageManifest, old.DockerImageManifest, field.NewPath("dockerImageManifest"))
	return append(errs, immutable(n.DockerImageConfig, old.DockerImageConfig, field.NewPath("dockerImageConfig"))...)
}
