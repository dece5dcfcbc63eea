package api

import (
	"strings"
	"testing"

	"slipway.dev/slipway/api/v1alpha1"
)

func TestGitRepositoriesThatAreRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*v1alpha1.GitRepositorySpec){
		"": func(s *v1alpha1.GitRepositorySpec) {
			s.URL, s.Depth, s.RecurseSubmodules = "git://h.example/x", 3, true
		},
		"spec.lfs":       func(s *v1alpha1.GitRepositorySpec) { s.URL, s.LFS = "ssh://git@h.example/x", true },
		"over https":     func(s *v1alpha1.GitRepositorySpec) { s.URL, s.LFS = "/srv/git/x", true },
		"spec.depth":     func(s *v1alpha1.GitRepositorySpec) { s.Depth = -1 },
		"scheme ftp":     func(s *v1alpha1.GitRepositorySpec) { s.URL = "ftp://h.example/x" },
		"not hold cred":  func(s *v1alpha1.GitRepositorySpec) { s.URL = "git://robot@h.example/x" },
		"range of versi": func(s *v1alpha1.GitRepositorySpec) { s.Reference = &v1alpha1.GitRepositoryRef{SemVer: ">>1"} },
		"spec.verify.mode": func(s *v1alpha1.GitRepositorySpec) {
			s.Verify = &v1alpha1.GitRepositoryVerification{Mode: v1alpha1.VerifyTag}
			s.Verify.SecretRef.Name = "keys"
		},
	} {
		r := &v1alpha1.GitRepository{Spec: v1alpha1.GitRepositorySpec{URL: "https://h.example/x"}}
		change(&r.Spec)
		err := validateGitRepository(r).ToAggregate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
