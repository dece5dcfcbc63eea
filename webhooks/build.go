package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// buildHook is one type of a BuildConfig's webhooks.
type buildHook struct {
	// triggerOf is the webhook of a trigger, nil if it is of another type.
	triggerOf func(buildv1.BuildTriggerPolicy) *buildv1.WebHookTrigger
	// parse reads a call; an error is the caller's mistake.
	parse func(header http.Header, body []byte) (event, error)
	// cause is what the build is said to be triggered by.
	cause func(revision *buildv1.SourceRevision) buildv1.BuildTriggerCause
}

// hidden is what a build's cause shows of the secret.
const hidden = "***"

var buildHooks = map[string]buildHook{
	"github": {
		func(p buildv1.BuildTriggerPolicy) *buildv1.WebHookTrigger { return p.GitHubWebHook }, parseGitHub,
		func(r *buildv1.SourceRevision) buildv1.BuildTriggerCause {
			return buildv1.BuildTriggerCause{Message: "GitHub WebHook", GitHubWebHook: &buildv1.GitHubWebHookCause{Revision: r, Secret: hidden}}
		},
	},
	"gitlab": {
		func(p buildv1.BuildTriggerPolicy) *buildv1.WebHookTrigger { return p.GitLabWebHook }, parseGitLab,
		func(r *buildv1.SourceRevision) buildv1.BuildTriggerCause {
			return buildv1.BuildTriggerCause{Message: "GitLab WebHook", GitLabWebHook: &buildv1.GitLabWebHookCause{CommonWebHookCause: common(r)}}
		},
	},
	"bitbucket": {
		func(p buildv1.BuildTriggerPolicy) *buildv1.WebHookTrigger { return p.BitbucketWebHook }, parseBitbucket,
		func(r *buildv1.SourceRevision) buildv1.BuildTriggerCause {
			return buildv1.BuildTriggerCause{Message: "Bitbucket WebHook", BitbucketWebHook: &buildv1.BitbucketWebHookCause{CommonWebHookCause: common(r)}}
		},
	},
	"generic": {
		func(p buildv1.BuildTriggerPolicy) *buildv1.WebHookTrigger { return p.GenericWebHook }, parseGeneric,
		func(r *buildv1.SourceRevision) buildv1.BuildTriggerCause {
			return buildv1.BuildTriggerCause{Message: "Generic WebHook", GenericWebHook: &buildv1.GenericWebHookCause{Revision: r, Secret: hidden}}
		},
	},
}

func common(r *buildv1.SourceRevision) buildv1.CommonWebHookCause {
	return buildv1.CommonWebHookCause{Revision: r, Secret: hidden}
}

// build answers as OpenShift does: 404 for a type that does not exist, 401 for a
// BuildConfig, trigger or secret that does not (one answer, so that nobody learns
// which), 400 for what cannot be read, 200 with the Build, or without one where the
// call is not about what the BuildConfig builds.
func (h *hooks) build(c *gin.Context) {
	key := types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("name")}
	kind := c.Param("type")
	hook, known := buildHooks[kind]
	if !known {
		answer(c, apierrors.NewNotFound(buildv1.Resource("buildconfighook"), fmt.Sprintf("%.63s", kind)))
		return
	}
	bc, trigger, err := h.trigger(c.Request.Context(), key, hook, c.Param("secret"))
	if err != nil {
		h.Log.Error("build hook: live state cannot be read", "buildconfig", key.String(), "error", err)
		answer(c, apierrors.NewInternalError(errors.New("live state cannot be read")))
		return
	}
	if trigger == nil {
		h.Log.Warn("build hook refused", "buildconfig", key.String(), "type", kind)
		answer(c, apierrors.NewUnauthorized(fmt.Sprintf("the webhook %q for %q did not accept your secret", kind, key.Name)))
		return
	}
	content, err := body(c)
	if errors.Is(err, errTooLarge) {
		answer(c, apierrors.NewRequestEntityTooLargeError(err.Error()))
		return
	}
	if err != nil {
		answer(c, apierrors.NewBadRequest("the body cannot be read"))
		return
	}
	ev, err := hook.parse(c.Request.Header, content)
	if err != nil {
		answer(c, apierrors.NewBadRequest(err.Error()))
		return
	}
	revision, why := decide(bc, ev)
	if why != "" {
		c.JSON(http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Message: why})
		return
	}
	req := &buildv1.BuildRequest{Revision: revision, TriggeredBy: []buildv1.BuildTriggerCause{hook.cause(revision)}}
	req.Name, req.Namespace = bc.Name, bc.Namespace
	if trigger.AllowEnv {
		req.Env, req.DockerStrategyOptions = ev.env, ev.docker
	}
	h.instantiate(c, key, req)
}

func (h *hooks) instantiate(c *gin.Context, key types.NamespacedName, req *buildv1.BuildRequest) {
	b, err := h.Builder.Instantiate(c.Request.Context(), key, req)
	if err != nil {
		h.Log.Warn("build hook: no build", "buildconfig", key.String(), "error", err)
		answer(c, err)
		return
	}
	h.Log.Info("build hook: build started", "build", b.Namespace+"/"+b.Name)
	out := b.DeepCopy()
	out.SetGroupVersionKind(buildv1.GroupVersion.WithKind("Build"))
	c.JSON(http.StatusOK, out)
}

// trigger finds the BuildConfig's webhook that has this secret; nil if there is none.
func (h *hooks) trigger(ctx context.Context, key types.NamespacedName, hook buildHook, secret string) (*buildv1.BuildConfig, *buildv1.WebHookTrigger, error) {
	var bc buildv1.BuildConfig
	if err := h.Client.Get(ctx, key, &bc); err != nil {
		return nil, nil, client.IgnoreNotFound(err)
	}
	var found *buildv1.WebHookTrigger
	for _, policy := range bc.Spec.Triggers {
		t := hook.triggerOf(policy)
		if t == nil {
			continue
		}
		want := []byte(t.Secret)
		if t.SecretReference != nil {
			var s corev1.Secret
			err := h.Client.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: t.SecretReference.Name}, &s)
			if client.IgnoreNotFound(err) != nil {
				return nil, nil, err
			}
			want = s.Data[buildv1.WebHookSecretKey]
		}
		if same([]byte(secret), want) && len(want) > 0 && found == nil {
			found = t
		}
	}
	return &bc, found, nil
}

// answer writes an error as a Kubernetes status; one that is none says no more than
// that something failed.
func answer(c *gin.Context, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		errors.As(apierrors.NewInternalError(errors.New("could not generate a build")), &status)
	}
	s := status.Status()
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	c.JSON(int(s.Code), s)
}
