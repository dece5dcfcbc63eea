package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GitRepository is a repository that Slipway follows. Field names and meaning
// are those of Flux's source.toolkit.fluxcd.io GitRepository.
//
// +kubebuilder:object:root=true
type GitRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   GitRepositorySpec   `json:"spec,omitempty"`
	Status GitRepositoryStatus `json:"status,omitempty"`
}

// GitRepositorySpec says what to follow and how often to look.
type GitRepositorySpec struct {
	// URL of the repository: http, https, ssh, file, or git where the server allows it.
	URL string `json:"url"`
	// Interval between two looks, a duration such as 1m30s; default 1m. A hook makes
	// Slipway look at once.
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Schedule is a cron expression that may stand instead of Interval.
	Schedule string `json:"schedule,omitempty"`
	// Reference to follow; default is the branch that the repository's HEAD names.
	Reference *GitRepositoryRef `json:"ref,omitempty"`
	// SecretRef names a Secret of the same project: username and password, bearerToken,
	// or identity and known_hosts. A key `token` holds the secret of its webhook.
	SecretRef *corev1.LocalObjectReference `json:"secretRef,omitempty"`
	// Timeout of one fetch; default 60s.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Ignore holds gitignore patterns of paths that are not seen, in addition to those of
	// the tree's .sourceignore files.
	Ignore *string `json:"ignore,omitempty"`
	// Verify asks for signatures: a revision without a good one is never rendered.
	Verify *GitRepositoryVerification `json:"verify,omitempty"`
	// RecurseSubmodules reads submodules, too. By default a tree that holds one is refused
	// where something reads it.
	RecurseSubmodules bool `json:"recurseSubmodules,omitempty"`
	// LFS reads content in git LFS, over https: up to 1,000 files of a commit, of 64 MiB each
	// and 512 MiB together. By default a pointer to such content is refused where something
	// reads it. Pointers in submodules always are.
	LFS bool `json:"lfs,omitempty"`
	// Depth limits how many commits of history are fetched; default 0: all of it.
	Depth int `json:"depth,omitempty"`
	// Projects that Applications may bring this repository's objects to; empty: the
	// repository's own project, and any project where the repository is the administrators'.
	Projects []string `json:"projects,omitempty"`
	// Suspend stops looking; what was fetched stays in force.
	Suspend bool `json:"suspend,omitempty"`
}

// GitVerificationMode says what must be signed.
type GitVerificationMode string

// The verification modes, Flux's.
const (
	VerifyHEAD       GitVerificationMode = "HEAD"
	VerifyTag        GitVerificationMode = "Tag"
	VerifyTagAndHEAD GitVerificationMode = "TagAndHEAD"
)

// GitRepositoryVerification says whose signatures are asked for.
type GitRepositoryVerification struct {
	// Mode is HEAD (default: the commit), Tag (the tag that is followed) or TagAndHEAD.
	Mode GitVerificationMode `json:"mode,omitempty"`
	// SecretRef names a Secret of the same project. Each of its keys holds OpenPGP public keys
	// (armored) or, where the key's name ends in `allowed_signers`, lines of ssh-keygen's
	// allowed signers file; a key that ends in `.pub` holds one SSH public key.
	SecretRef corev1.LocalObjectReference `json:"secretRef"`
}

// GitRepositoryRef names a revision. Where several are set the order of precedence
// is commit, name, semver, tag, branch, as in Flux.
type GitRepositoryRef struct {
	Branch string `json:"branch,omitempty"`
	Tag    string `json:"tag,omitempty"`
	SemVer string `json:"semver,omitempty"`
	Name   string `json:"name,omitempty"`
	Commit string `json:"commit,omitempty"`
}

// GitRepositoryStatus says what was last seen.
type GitRepositoryStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	// Artifact is the last good revision.
	Artifact *GitArtifact `json:"artifact,omitempty"`
	// Tags are the repository's tags and the commits they name.
	Tags []GitTag `json:"tags,omitempty"`
}

// GitArtifact identifies a fetched revision.
type GitArtifact struct {
	// Revision is `branch@sha1:commit`, as Flux writes it.
	Revision string      `json:"revision"`
	Commit   string      `json:"commit"`
	Author   string      `json:"author,omitempty"`
	Message  string      `json:"message,omitempty"`
	When     metav1.Time `json:"when,omitempty"`
	// Signer is who signed it, where signatures are asked for.
	Signer string `json:"signer,omitempty"`
}

// GitTag is a tag and the commit it names.
type GitTag struct {
	Name   string `json:"name"`
	Commit string `json:"commit"`
}

// GitRepositoryList is a list of repositories.
//
// +kubebuilder:object:root=true
type GitRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GitRepository `json:"items"`
}
