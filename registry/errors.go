package registry

import (
	"errors"
	"fmt"
	"net/http"
)

// refusal is an error of the specification: what the client did wrong, or what is not
// there. Every other error is answered with 500.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string { return r.message }

// with gives the refusal a message about the case at hand.
func (r *refusal) with(format string, args ...any) *refusal {
	return &refusal{r.status, r.code, fmt.Sprintf(format, args...)}
}

// Is makes errors.Is compare codes, so that a refusal with its own message still matches.
func (r *refusal) Is(target error) bool {
	var t *refusal
	return errors.As(target, &t) && t.code == r.code && t.status == r.status
}

// The codes of the specification, and the two of Docker's that clients know beside them
// (PAGINATION_NUMBER_INVALID, UNKNOWN).
var (
	errBlobUnknown         = &refusal{http.StatusNotFound, "BLOB_UNKNOWN", "the repository has no such blob"}
	errUploadInvalid       = &refusal{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "the upload is invalid"}
	errUploadRange         = &refusal{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "the chunk does not follow what has been received"}
	errUploadBusy          = &refusal{http.StatusConflict, "BLOB_UPLOAD_INVALID", "another request is writing to the upload"}
	errUploadUnknown       = &refusal{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "there is no such upload"}
	errDigestInvalid       = &refusal{http.StatusBadRequest, "DIGEST_INVALID", "the digest is invalid"}
	errManifestBlobUnknown = &refusal{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", "the manifest refers to something that the repository does not have"}
	errManifestInvalid     = &refusal{http.StatusBadRequest, "MANIFEST_INVALID", "the manifest is invalid"}
	errManifestTooLarge    = &refusal{http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", "the manifest is larger than 4 MiB"}
	errManifestUnknown     = &refusal{http.StatusNotFound, "MANIFEST_UNKNOWN", "the repository has no such manifest"}
	errNameInvalid         = &refusal{http.StatusBadRequest, "NAME_INVALID", "the repository's name is invalid"}
	errNameUnknown         = &refusal{http.StatusNotFound, "NAME_UNKNOWN", "there is no such repository"}
	errNotFound            = &refusal{http.StatusNotFound, "UNSUPPORTED", "there is nothing at this path"}
	errUnauthorized        = &refusal{http.StatusUnauthorized, "UNAUTHORIZED", "credentials are needed"}
	errDenied              = &refusal{http.StatusForbidden, "DENIED", "these credentials do not allow this"}
	errMethod              = &refusal{http.StatusMethodNotAllowed, "UNSUPPORTED", "the method is not supported here"}
	errPage                = &refusal{http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is not a number from 0"}
)
