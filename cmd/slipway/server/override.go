package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/sources"
)

// OverrideAnswer says which override is in force, or was ended.
type OverrideAnswer struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
	// Signer is who signed, as the allowed signers name them.
	Signer string `json:"signer"`
}

// OverrideEnd is what ends an override: who says so, and the signature of
// api.OverrideEndMessage.
type OverrideEnd struct {
	Owner     string `json:"owner"`
	Signature string `json:"signature"`
}

// maxOverride bounds the body of a request, in bytes.
const maxOverride = 64 << 10

// overrides takes signed exceptions from git: the one way to change live state that is no
// commit, for when git is away or too slow. What it takes, and what it refuses, is told.
type overrides struct {
	client client.Client
	events reconciler.Events
	log    *slog.Logger
	now    func() time.Time
}

// refusal is why an override is not taken, and the HTTP status for that.
type refusal struct {
	code int
	why  string
}

func (r refusal) Error() string { return r.why }

func refuse(code int, format string, args ...any) error {
	return refusal{code, fmt.Sprintf(format, args...)}
}

func (s *overrides) register(e *gin.Engine) {
	e.POST("/slipway/v1/overrides", s.post)
	e.POST("/slipway/v1/overrides/:project/:name/end", s.end)
}

func (s *overrides) post(c *gin.Context) {
	var o v1alpha1.Override
	if err := decode(c, &o); err != nil {
		answer(c, nil, err)
		return
	}
	o.ObjectMeta = metav1.ObjectMeta{Namespace: o.Namespace}
	o.Status = v1alpha1.OverrideStatus{}
	signer, err := s.take(c.Request.Context(), &o)
	if err != nil {
		s.tellRefused(c.Request.Context(), &o, err)
	}
	answer(c, &OverrideAnswer{o.Name, o.Spec.Until.Time, signer}, err)
}

func decode(c *gin.Context, into any) error {
	// A page in a browser cannot send this type without asking first.
	if c.ContentType() != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "want Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxOverride))
	if err != nil {
		return refuse(http.StatusRequestEntityTooLarge, "the request is longer than %d bytes", maxOverride)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return refuse(http.StatusBadRequest, "the request is not as it should be: %v", err)
	}
	return nil
}

func answer(c *gin.Context, good *OverrideAnswer, err error) {
	var no refusal
	switch {
	case errors.As(err, &no):
		c.String(no.code, "%s\n", no.why)
	case apierrors.IsInvalid(err):
		c.String(http.StatusUnprocessableEntity, "%s\n", err)
	case err != nil:
		c.String(http.StatusInternalServerError, "%s\n", err)
	default:
		c.JSON(http.StatusOK, good)
	}
}

// take puts an override into live state, if it is one. Who signed is looked at first: who
// may not override is not told what there is.
func (s *overrides) take(ctx context.Context, o *v1alpha1.Override) (signer string, err error) {
	message, err := api.OverrideMessage(o)
	if err != nil {
		return "", refuse(http.StatusBadRequest, "%v", err)
	}
	if signer, err = s.signedBy(ctx, o.Spec.Owner, message, o.Spec.Signature); err != nil {
		return "", err
	}
	switch left := o.Spec.Until.Sub(s.now()); {
	case left <= 0:
		return signer, refuse(http.StatusUnprocessableEntity, "the override ended at %s: it is %s now", o.Spec.Until.UTC().Format(time.RFC3339), s.now().UTC().Format(time.RFC3339))
	case left > api.MaxOverride:
		return signer, refuse(http.StatusUnprocessableEntity, "an override lasts 7 days at most, not until %s: what is to stay belongs in git", o.Spec.Until.UTC().Format(time.RFC3339))
	}
	if o.Name, err = api.OverrideName(o); err != nil {
		return signer, err
	}
	if err := s.fits(ctx, o); err != nil {
		return signer, err
	}
	if err := s.client.Create(ctx, o); apierrors.IsAlreadyExists(err) {
		return signer, refuse(http.StatusConflict, "this very override, %s, was given before, and its signature is good once: sign another", o.Name)
	} else if err != nil {
		return signer, err
	}
	s.tell(o, corev1.EventTypeWarning, "OverrideAccepted", "%s %s until %s, signed by %s: %s",
		o.Name, objectOf(o), o.Spec.Until.UTC().Format(time.RFC3339), signer, o.Spec.Reason)
	return signer, nil
}

// signedBy says who of the allowed signers signed a message as an owner.
func (s *overrides) signedBy(ctx context.Context, owner string, message []byte, signature string) (string, error) {
	var signers corev1.Secret
	err := s.client.Get(ctx, types.NamespacedName{Namespace: api.SystemProject, Name: api.OverrideSigners}, &signers)
	if apierrors.IsNotFound(err) || err == nil && len(signers.Data) == 0 {
		return "", refuse(http.StatusForbidden, "overrides are disabled: there is no Secret %s in project %s that says who may sign them", api.OverrideSigners, api.SystemProject)
	}
	if err != nil {
		return "", err
	}
	as := api.OwnerAddress(owner)
	if as == "" {
		return "", refuse(http.StatusForbidden, "owner %q is not a name and an address in angle brackets", owner)
	}
	signer, err := sources.SignedText(&signers, api.OverrideNamespace, as, message, signature, s.now())
	if err != nil {
		return "", refuse(http.StatusForbidden, "%v", err)
	}
	return signer, nil
}

// fits says what speaks against an override: it is not valid, its object is not of its Application, or the
// patched object would not be valid.
func (s *overrides) fits(ctx context.Context, o *v1alpha1.Override) error {
	if err := s.client.Create(ctx, o.DeepCopy(), client.DryRunAll); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	var app v1alpha1.Application
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: o.Namespace, Name: o.Spec.Application}, &app); apierrors.IsNotFound(err) {
		return refuse(http.StatusUnprocessableEntity, "there is no application %s/%s", o.Namespace, o.Spec.Application)
	} else if err != nil {
		return err
	}
	if app.Spec.Suspend || app.Spec.SuspendUntil != nil && s.now().Before(app.Spec.SuspendUntil.Time) {
		return refuse(http.StatusUnprocessableEntity, "application %s is suspended: nothing is applied, overrides neither", app.Name)
	}
	ref := o.Spec.Object
	if ref.Kind == "Secret" && ref.Namespace == api.SystemProject && ref.Name == api.OverrideSigners {
		return refuse(http.StatusForbidden, "who may override is not a thing to override")
	}
	live := &unstructured.Unstructured{}
	live.SetAPIVersion(ref.APIVersion)
	live.SetKind(ref.Kind)
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, live); apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return refuse(http.StatusUnprocessableEntity, "there is no %s", objectOf(o))
	} else if err != nil {
		return err
	}
	if l := live.GetLabels(); l[reconciler.OwnerName] != app.Name || l[reconciler.OwnerNamespace] != app.Namespace {
		return refuse(http.StatusUnprocessableEntity, "%s is not of application %s: git does not say how it is", objectOf(o), app.Name)
	}
	before, err := json.Marshal(live.Object)
	if err != nil {
		return err
	}
	after, err := jsonpatch.MergePatch(before, o.Spec.Patch.Raw)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "the patch is not a JSON merge patch")
	}
	patched := &unstructured.Unstructured{}
	if err := patched.UnmarshalJSON(after); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the patch does not leave an object")
	}
	return s.client.Update(ctx, patched, client.DryRunAll)
}

// end ends an override before its time. Any allowed signer may.
func (s *overrides) end(c *gin.Context) {
	var by OverrideEnd
	if err := decode(c, &by); err != nil {
		answer(c, nil, err)
		return
	}
	ctx, key := c.Request.Context(), types.NamespacedName{Namespace: c.Param("project"), Name: c.Param("name")}
	signer, err := s.signedBy(ctx, by.Owner, api.OverrideEndMessage(key.Namespace, key.Name), by.Signature)
	o := &v1alpha1.Override{}
	if err == nil {
		if err = s.client.Get(ctx, key, o); apierrors.IsNotFound(err) {
			err = refuse(http.StatusNotFound, "there is no override %s", key)
		}
	}
	if err == nil && meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{
		Type: v1alpha1.OverrideEnded, Status: metav1.ConditionTrue, Reason: "ByHand", Message: "ended by " + by.Owner + ", signed by " + signer,
	}) {
		if err = s.client.Status().Update(ctx, o); err == nil {
			s.tell(o, corev1.EventTypeNormal, "OverrideEndedByHand", "%s, signed by %s", o.Name, signer)
		}
	}
	if err != nil {
		s.log.Warn("an override is not ended", "override", key.String(), "owner", by.Owner, "error", err)
	}
	answer(c, &OverrideAnswer{key.Name, o.Spec.Until.Time, signer}, err)
}

// tell writes an audit event onto the Application.
func (s *overrides) tell(o *v1alpha1.Override, kind, reason, format string, args ...any) {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Spec.Application}}
	s.events.Event(app, kind, reason, format, args...)
	s.log.Info(reason, "override", o.Namespace+"/"+o.Name, "object", objectOf(o), "owner", o.Spec.Owner, "until", o.Spec.Until.UTC())
}

// tellRefused writes down who tried what. What is not of an Application goes to the log
// only: nobody is to fill live state with events of things that do not exist.
func (s *overrides) tellRefused(ctx context.Context, o *v1alpha1.Override, err error) {
	s.log.Warn("an override is refused", "application", o.Namespace+"/"+o.Spec.Application, "object", objectOf(o), "owner", o.Spec.Owner, "error", err)
	var app v1alpha1.Application
	if s.client.Get(ctx, types.NamespacedName{Namespace: o.Namespace, Name: o.Spec.Application}, &app) != nil {
		return
	}
	why := []rune(err.Error())
	owner := []rune(o.Spec.Owner)
	s.events.Event(&app, corev1.EventTypeWarning, "OverrideRefused", "of %s by %s: %s", objectOf(o), string(owner[:min(len(owner), 100)]), string(why[:min(len(why), 500)]))
}

// objectOf names the object, cut: it comes from outside.
func objectOf(o *v1alpha1.Override) string {
	ref := o.Spec.Object
	parts := slices.DeleteFunc([]string{ref.Namespace, ref.Kind, ref.Name}, func(s string) bool { return s == "" })
	name := ""
	for i, p := range parts {
		if i > 0 {
			name += "/"
		}
		name += p[:min(len(p), 100)]
	}
	return name
}
