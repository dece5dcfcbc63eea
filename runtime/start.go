package runtime

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// start starts a container when its image is there.
func (w World) start(p *Plan, c *corev1.Container, attempt int, backoff time.Duration) {
	if f, failed := w.Failures[c.Name]; failed && w.Now.Before(f.Retry) {
		p.wait(c.Name, f.Reason, f.Message)
		p.again(f.Retry.Sub(w.Now))
		return
	}
	if w.ready(p, c) {
		p.do(Action{Verb: StartContainer, Name: c.Name, Attempt: attempt, Backoff: backoff})
	}
}

// ready answers whether the container's image may be used, and pulls it if need be.
func (w World) ready(p *Plan, c *corev1.Container) bool {
	image := w.Images[c.Image]
	wanted, asked := w.Wanted[c.Name]
	switch pullPolicy(c) {
	case corev1.PullNever:
		if !image.Present {
			p.wait(c.Name, "ErrImageNeverPull", "container image "+c.Image+" is not present with pull policy of Never")
			p.again(lookForImage)
		}
		return image.Present
	case corev1.PullAlways:
		if asked && !image.PulledAt.Before(wanted) && image.Present {
			return true
		}
	default:
		if image.Present {
			return true
		}
	}
	switch {
	case image.Pulling:
		p.wait(c.Name, "ContainerCreating", "pulling image "+c.Image)
	case image.Err != "" && w.Now.Before(image.Retry):
		p.wait(c.Name, "ImagePullBackOff", "back-off pulling image "+c.Image+": "+image.Err)
		rest := image.Retry.Sub(w.Now)
		if pullPolicy(c) != corev1.PullAlways {
			rest = min(rest, lookForImage)
		}
		p.again(rest)
	default:
		p.wait(c.Name, "ContainerCreating", "")
		p.do(Action{Verb: PullImage, Name: c.Name})
	}
	return false
}

// lookForImage is how often it is looked whether somebody has loaded an image that is not to be
// pulled, or could not be: as often as a kubelet looks at its pods.
const lookForImage = 10 * time.Second

// pullPolicy is the container's, or what Kubernetes takes for it when it says nothing.
func pullPolicy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	if strings.Contains(c.Image, "@") {
		return corev1.PullIfNotPresent
	}
	name := c.Image[strings.LastIndexByte(c.Image, '/')+1:]
	if tag := strings.IndexByte(name, ':'); tag < 0 || name[tag+1:] == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}
