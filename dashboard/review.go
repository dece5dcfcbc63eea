package dashboard

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
)

// registerReviews answers `kubectl auth can-i`: a question that is put as a POST, and
// changes nothing.
func (d *Dashboard) registerReviews(r gin.IRouter) {
	r.POST("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", func(c *gin.Context) {
		var review authorizationv1.SelfSubjectAccessReview
		body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, 64<<10))
		if err == nil {
			err = decodeReview(body, &review)
		}
		if err != nil {
			d.answerError(c, apierrors.NewBadRequest("SelfSubjectAccessReview: "+err.Error()))
			return
		}
		verb := ""
		switch {
		case review.Spec.ResourceAttributes != nil:
			verb = review.Spec.ResourceAttributes.Verb
		case review.Spec.NonResourceAttributes != nil:
			verb = review.Spec.NonResourceAttributes.Verb
		}
		review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: slices.Contains([]string{"get", "list", "watch"}, verb)}
		if !review.Status.Allowed {
			review.Status.Reason = ReadOnly
		}
		review.APIVersion, review.Kind = authorizationv1.SchemeGroupVersion.String(), "SelfSubjectAccessReview"
		c.JSON(http.StatusCreated, review)
	})
}

// decodeReview reads JSON, or the protobuf that kubectl sends for kinds it knows: four
// bytes of magic, then a runtime.Unknown around the object.
func decodeReview(body []byte, review *authorizationv1.SelfSubjectAccessReview) error {
	wrapped, isProto := bytes.CutPrefix(body, []byte("k8s\x00"))
	if !isProto {
		return json.Unmarshal(body, review)
	}
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(wrapped); err != nil {
		return err
	}
	return review.Unmarshal(unknown.Raw)
}
