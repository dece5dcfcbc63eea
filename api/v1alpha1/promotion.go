package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Promotion moves an image stream's tag to an image that another stream already
// has, by a commit to the configuration repository.
//
// +kubebuilder:object:root=true
type Promotion struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PromotionSpec   `json:"spec,omitempty"`
	Status PromotionStatus `json:"status,omitempty"`
}

// PromotionSpec says which tags follow which, and on what sign.
type PromotionSpec struct {
	// From is the project whose streams hold the images.
	From string `json:"from"`
	// Streams are the image streams to promote; default: every stream of the Promotion's
	// project that From has too.
	Streams []string `json:"streams,omitempty"`
	// Tag of the Promotion's own project's streams that moves; default `live`.
	Tag string `json:"tag,omitempty"`
	// On is the sign that starts a promotion.
	On PromotionTrigger `json:"on"`
	// Write says where the lock file is.
	Write PromotionWrite `json:"write"`
}

// PromotionTrigger is the sign that starts a promotion: a git tag.
type PromotionTrigger struct {
	// SourceRef names the GitRepository whose tags are read.
	SourceRef SourceReference `json:"sourceRef"`
	// SemVer is the range that a tag (with or without a leading v) must lie in; the highest
	// one wins. Default `>=0.0.0`.
	SemVer string `json:"semver,omitempty"`
}

// PromotionWrite says which file a promotion's commit changes.
type PromotionWrite struct {
	// SourceRef names the GitRepository to commit to.
	SourceRef SourceReference `json:"sourceRef"`
	// Branch to commit to; default: the one the repository's GitRepository follows.
	Branch string `json:"branch,omitempty"`
	// Path of the lock file; default projects/<project>/images.lock.json.
	Path string `json:"path,omitempty"`
}

// PromotionStatus says what was last promoted.
type PromotionStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	// LastTag is the newest git tag that was promoted. It is not promoted again, so
	// that a revert of the promotion's commit stays in force.
	LastTag string `json:"lastTag,omitempty"`
	// LastTagCommit is the commit that LastTag named.
	LastTagCommit string `json:"lastTagCommit,omitempty"`
	// Commit is the commit that Slipway wrote.
	Commit string `json:"commit,omitempty"`
}

// ImagesLock is the content of images.lock.json: what each promoted tag points at.
// Written by promotions, reviewed like any file.
type ImagesLock struct {
	// Images maps `stream:tag` to what it is locked to.
	Images map[string]LockedImage `json:"images"`
}

// LockedImage is the image that a promoted tag points at.
type LockedImage struct {
	// From is `project/stream`, where the image was taken from.
	From string `json:"from"`
	// Digest of the image's manifest.
	Digest string `json:"digest"`
	// Commit that the image was built from, if known.
	Commit string `json:"commit,omitempty"`
	// Tag is the git tag that promoted it, if one did.
	Tag string `json:"tag,omitempty"`
}

// PromotionList is a list of promotions.
//
// +kubebuilder:object:root=true
type PromotionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Promotion `json:"items"`
}
