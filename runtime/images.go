package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// pulls are the pulls of images, one at a time for an image.
type pulls struct {
	mu     sync.Mutex
	images map[string]*pull // guarded by mu, as is what is in them
}

type pull struct {
	running bool
	waiting map[loop.Key]bool
	done    time.Time
	err     string
	delay   time.Duration
	retry   time.Time
}

// image observes the state of an image. Where it is being pulled, for whatever pod, the
// key is woken when that is done: what is decided from "pulling" is to wait.
func (a *Agent) image(ctx context.Context, key loop.Key, name string) (Image, error) {
	var i Image
	found, err := a.Docker.ImageInspect(ctx, name)
	switch {
	case err == nil:
		i.Present = true
		if c := found.Config; c != nil {
			i.User, i.Entrypoint, i.Cmd, i.Env = c.User, c.Entrypoint, c.Cmd, c.Env
		}
	case !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err):
		return i, fmt.Errorf("image %s: %w", name, err)
	}
	a.pulls.mu.Lock()
	defer a.pulls.mu.Unlock()
	if p := a.pulls.images[name]; p != nil {
		i.Pulling, i.PulledAt, i.Err, i.Retry = p.running, p.done, p.err, p.retry
		if p.running {
			p.waiting[key] = true
		}
	}
	return i, nil
}

// pull begins to pull an image, or joins a pull that runs; the pod's key is woken when
// it is done.
func (a *Agent) pull(pod *corev1.Pod, name string) {
	a.pulls.mu.Lock()
	defer a.pulls.mu.Unlock()
	if a.pulls.images == nil {
		a.pulls.images = map[string]*pull{}
	}
	p := a.pulls.images[name]
	if p == nil {
		p = &pull{waiting: map[loop.Key]bool{}}
		a.pulls.images[name] = p
	}
	p.waiting[client.ObjectKeyFromObject(pod)] = true
	if p.running {
		return
	}
	p.running = true
	a.Recorder.Event(pod, corev1.EventTypeNormal, "Pulling", "Pulling image %q", name)
	a.work.Go(func() {
		if a.pulling.Acquire(a.ctx, 1) != nil {
			return
		}
		begin := a.Clock()
		err := a.Pulls(a.ctx, name, func() error { return a.fetch(a.ctx, pod, name) })
		a.pulling.Release(1)
		if a.ctx.Err() != nil {
			return
		}
		if err != nil {
			a.Recorder.Event(pod, corev1.EventTypeWarning, "Failed", "Failed to pull image %q: %v", name, err)
		} else {
			a.Recorder.Event(pod, corev1.EventTypeNormal, "Pulled", "Successfully pulled image %q in %v", name, a.Clock().Sub(begin).Round(time.Millisecond))
		}
		for _, k := range a.pulled(p, err) {
			a.wake(k)
		}
	})
}

// pulled notes a pull's end; after a failure the next waits 10 s, doubling up to 5 min.
func (a *Agent) pulled(p *pull, err error) (waiting []loop.Key) {
	a.pulls.mu.Lock()
	defer a.pulls.mu.Unlock()
	p.running, p.err = false, ""
	if err == nil {
		p.done, p.delay = a.Clock(), 0
	} else {
		p.err = err.Error()
		p.delay = min(max(2*p.delay, firstBackoff), maxBackoff)
		p.retry = a.Clock().Add(p.delay)
	}
	for k := range p.waiting {
		waiting = append(waiting, k)
	}
	clear(p.waiting)
	return waiting
}

// has says whether the image is being pulled.
func (p *pulls) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.images[name]
	return i != nil && i.running
}

// Pulls notes an image that somebody pulls for the platform, and that it is used now.
// One that was not there, or that was noted before, is the agent's to remove when the
// disk is full; that is noted first, lest a crash leaves an image that nobody answers for.
func (a *Agent) Pulls(ctx context.Context, name string, pull func() error) error {
	_, err := a.Docker.ImageInspect(ctx, name)
	ours := a.ledger.knows(name)
	if errdefs.IsNotFound(err) {
		ours, err = true, a.ledger.note(name, "", a.Clock())
	}
	if err != nil {
		return err
	}
	if err := pull(); err != nil || !ours {
		return err
	}
	i, err := a.Docker.ImageInspect(ctx, name)
	if err != nil {
		return err
	}
	return a.ledger.note(name, i.ID, a.Clock())
}

func (a *Agent) fetch(ctx context.Context, pod *corev1.Pod, name string) error {
	auths, err := a.auths(ctx, pod, name)
	if err != nil {
		return err
	}
	if len(auths) == 0 {
		return a.fetchWith(ctx, name, "")
	}
	var errs []error
	for _, auth := range auths {
		err := a.fetchWith(ctx, name, auth)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (a *Agent) fetchWith(ctx context.Context, name, auth string) error {
	stream, err := a.Docker.ImagePull(ctx, name, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	defer stream.Close()
	for dec := json.NewDecoder(stream); ; {
		var m struct{ Error string }
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}

// auths are the credentials for an image in Docker's form, in the order in which they
// are tried: those of the pod's imagePullSecrets for the image, else the agent's. None:
// everybody may have it.
func (a *Agent) auths(ctx context.Context, pod *corev1.Pod, name string) ([]string, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", name, err)
	}
	secrets, err := a.pullSecrets(ctx, pod)
	if err != nil {
		return nil, err
	}
	var found []registry.AuthConfig
	for _, s := range secrets {
		var secret corev1.Secret
		err := a.Client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: s.Name}, &secret)
		if apierrors.IsNotFound(err) {
			// As with Kubernetes: the image may need no credentials at all.
			a.say(pod, corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret", "There is no secret %q, which imagePullSecrets names; pulling %q may not succeed", s.Name, name)
			continue
		}
		var have []registry.AuthConfig
		if err == nil {
			have, err = credentials(&secret, ref.Name())
		}
		if err != nil {
			return nil, fmt.Errorf("imagePullSecret %s: %w", s.Name, err)
		}
		found = append(found, have...)
	}
	if len(found) == 0 && a.RegistryAuth != nil {
		username, password, err := a.RegistryAuth(ctx, pod.Namespace, name)
		if err != nil {
			return nil, err
		}
		if username != "" {
			found = append(found, registry.AuthConfig{Username: username, Password: password, ServerAddress: reference.Domain(ref)})
		}
	}
	var encoded []string
	for _, c := range found {
		e, err := registry.EncodeAuthConfig(c)
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, e)
	}
	return encoded, nil
}

// pullSecrets are those of the pod, or if it names none, of its service account.
func (a *Agent) pullSecrets(ctx context.Context, pod *corev1.Pod) ([]corev1.LocalObjectReference, error) {
	if len(pod.Spec.ImagePullSecrets) > 0 || pod.Spec.ServiceAccountName == "" {
		return pod.Spec.ImagePullSecrets, nil
	}
	var account corev1.ServiceAccount
	err := a.Client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}, &account)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("imagePullSecrets of service account %s: %w", pod.Spec.ServiceAccountName, err)
	}
	return account.ImagePullSecrets, nil
}
