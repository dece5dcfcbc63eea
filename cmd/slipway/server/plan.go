package server

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
)

// PlanAnswer is what `slipway plan` is answered.
type PlanAnswer struct {
	Text     string                `json:"text"`
	Changes  int                   `json:"changes"`
	Problems int                   `json:"problems"`
	Digest   string                `json:"digest"`
	Plan     *reconciler.Plan      `json:"plan"`
	Waiting  *v1alpha1.WaitingPlan `json:"waiting,omitempty"`
}

// pending answers what an Application's next look would do, and what it waits for.
func pending(r *reconciler.Reconciler) gin.HandlerFunc {
	return func(c *gin.Context) {
		key := types.NamespacedName{Namespace: c.Query("project"), Name: c.Query("application")}
		if key.Namespace == "" || key.Name == "" {
			c.String(http.StatusBadRequest, "want project= and application=\n")
			return
		}
		plan, waiting, err := r.Pending(c.Request.Context(), key)
		if apierrors.IsNotFound(err) {
			c.String(http.StatusNotFound, "there is no application %s\n", key)
			return
		}
		if err != nil {
			c.String(http.StatusUnprocessableEntity, "%s\n", err)
			return
		}
		a := PlanAnswer{Changes: len(plan.Steps), Problems: len(plan.Problems), Digest: plan.Digest(), Plan: plan, Waiting: waiting}
		if plan.Empty() && len(plan.Problems) == 0 {
			a.Text = fmt.Sprintf("application %s at %s: nothing to do.\n", key.Name, reconciler.Short(plan.Commit))
		} else {
			a.Text = plan.String() + "  digest " + a.Digest + "\n"
		}
		if waiting != nil {
			a.Text += fmt.Sprintf("\nwaits (%s) since %s with %s: %s\n", waiting.Reason, waiting.Since.UTC().Format("2006-01-02 15:04:05Z"), reconciler.Short(waiting.Commit), waiting.Message)
		}
		c.JSON(http.StatusOK, a)
	}
}

// BesideAnswer is what rolling an application's path back would leave as it is.
type BesideAnswer struct {
	// Files outside of the path that the application depends on, and that have changed since.
	Files []string `json:"files"`
}

// beside answers which files outside of an Application's path changed since a commit.
func beside(r *reconciler.Reconciler) gin.HandlerFunc {
	return func(c *gin.Context) {
		key := types.NamespacedName{Namespace: c.Query("project"), Name: c.Query("application")}
		files, err := r.Beside(c.Request.Context(), key, c.Query("commit"))
		if err != nil {
			c.String(http.StatusUnprocessableEntity, "%s\n", err)
			return
		}
		c.JSON(http.StatusOK, BesideAnswer{files})
	}
}

// The limits of a working copy that is sent.
const (
	maxUpload     = 32 << 20
	maxUnpacked   = 128 << 20
	maxUploadedIn = 20_000
)

// workingCopy is what a commit of a working copy is called.
const workingCopy = "working copy"

// previewUpload answers what applying a working copy, sent as a ZIP archive, would do. It
// reads only; the archive is never unpacked.
func previewUpload(r *reconciler.Reconciler) gin.HandlerFunc {
	return func(c *gin.Context) {
		repository, ok := repositoryOf(c)
		if !ok {
			return
		}
		tree, err := archived(c)
		if err != nil {
			answer(c, nil, err)
			return
		}
		plans, err := r.PreviewAt(c.Request.Context(), repository, api.Revision{Repository: repository.String(), Commit: workingCopy, Tree: tree})
		tellPlans(c, plans, err)
	}
}

func archived(c *gin.Context) (fs.FS, error) {
	if c.ContentType() != "application/zip" {
		return nil, refuse(http.StatusUnsupportedMediaType, "want Content-Type: application/zip")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxUpload))
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the working copy is larger than %d MiB", maxUpload>>20)
		}
		return nil, err
	}
	return openArchive(body)
}

// openArchive reads a ZIP archive as a tree. What it holds is no longer than it says.
func openArchive(body []byte) (fs.FS, error) {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the working copy is not a ZIP archive: %v", err)
	}
	var total uint64
	for _, f := range z.File {
		if total += f.UncompressedSize64; total > maxUnpacked || f.UncompressedSize64 > maxUnpacked {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the working copy is larger than %d MiB", maxUnpacked>>20)
		}
	}
	if len(z.File) > maxUploadedIn {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the working copy has more than %d files", maxUploadedIn)
	}
	return z, nil
}
