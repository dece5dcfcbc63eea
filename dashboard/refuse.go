package dashboard

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReadOnly is what every attempt to write is told.
const ReadOnly = "Slipway is changed by git and by nothing else: commit the change to the configuration repository and it goes live; this API only reads"

func refuseWrite(c *gin.Context) {
	c.Header("Allow", http.MethodGet)
	answerStatus(c, metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusMethodNotAllowed, Reason: metav1.StatusReasonMethodNotAllowed, Message: ReadOnly,
	})
}

func answerStatus(c *gin.Context, s metav1.Status) {
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	c.AbortWithStatusJSON(int(s.Code), s)
}

// answerError answers with the Status that an error is, or with an internal error.
func (d *Dashboard) answerError(c *gin.Context, err error) {
	if c.Request.Context().Err() != nil {
		c.Abort()
		return
	}
	answerStatus(c, d.statusOf(c.Request.URL.Path, err))
}

func (d *Dashboard) statusOf(path string, err error) metav1.Status {
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		return known.Status()
	}
	d.Log.Error("read failed", "path", path, "error", err)
	return apierrors.NewInternalError(err).Status()
}

// NotFound answers what nothing else is mounted at: below the API with a Status, elsewhere
// with a page. It is for an engine's NoRoute.
func (d *Dashboard) NotFound(c *gin.Context) {
	harmless(c)
	if isAPI(c.Request.URL.Path) {
		if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
			refuseWrite(c)
			return
		}
		answerStatus(c, metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
			Message: fmt.Sprintf("the server could not find the requested resource: %s", c.Request.URL.Path),
		})
		return
	}
	d.pageError(c, http.StatusNotFound, "There is no such page.")
}
