package nodeapi

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// names are objects of one kind.
type names map[client.ObjectKey]bool

// needed are the objects of a kind that the pods of a node need. A pod that has ended needs nothing.
func (s *Server) needed(ctx context.Context, node, kind string) (names, error) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, &client.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node)}); err != nil {
		return nil, err
	}
	out := names{}
	for i := range pods.Items {
		uses(&pods.Items[i], kind, out)
	}
	if kind == volumes {
		bound, err := s.bound(ctx, out)
		if err != nil {
			return nil, err
		}
		return bound, s.reclaimed(ctx, node, bound)
	}
	if kind == secrets {
		return out, s.ofAccounts(ctx, pods.Items, out)
	}
	return out, nil
}

// ofAccounts adds the secrets that pods pull with which name none themselves.
func (s *Server) ofAccounts(ctx context.Context, pods []corev1.Pod, out names) error {
	of := names{}
	for i := range pods {
		if len(pods[i].Spec.ImagePullSecrets) == 0 {
			uses(&pods[i], accounts, of)
		}
	}
	for key := range of {
		var a corev1.ServiceAccount
		if err := s.Client.Get(ctx, key, &a); client.IgnoreNotFound(err) != nil {
			return err
		}
		for _, r := range a.ImagePullSecrets {
			if r.Name != "" {
				out[client.ObjectKey{Namespace: key.Namespace, Name: r.Name}] = true
			}
		}
	}
	return nil
}

const (
	accounts = "ServiceAccount"
	secrets  = "Secret"
	configs  = "ConfigMap"
	claims   = "PersistentVolumeClaim"
	volumes  = "PersistentVolume"
)

// uses adds what a pod names. For volumes it adds the claims that stand for them.
func uses(pod *corev1.Pod, kind string, out names) {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return
	}
	add := func(k, name string) {
		if name != "" && (k == kind || k == claims && kind == volumes) {
			out[client.ObjectKey{Namespace: pod.Namespace, Name: name}] = true
		}
	}
	add(accounts, pod.Spec.ServiceAccountName)
	for _, r := range pod.Spec.ImagePullSecrets {
		add(secrets, r.Name)
	}
	for _, v := range pod.Spec.Volumes {
		usesVolume(pod, v, add)
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			usesContainer(c, add)
		}
	}
}

func usesVolume(pod *corev1.Pod, v corev1.Volume, add func(kind, name string)) {
	if v.Secret != nil {
		add(secrets, v.Secret.SecretName)
	}
	if v.ConfigMap != nil {
		add(configs, v.ConfigMap.Name)
	}
	if v.PersistentVolumeClaim != nil {
		add(claims, v.PersistentVolumeClaim.ClaimName)
	}
	if v.Ephemeral != nil {
		add(claims, pod.Name+"-"+v.Name)
	}
	if v.Projected == nil {
		return
	}
	for _, src := range v.Projected.Sources {
		if src.Secret != nil {
			add(secrets, src.Secret.Name)
		}
		if src.ConfigMap != nil {
			add(configs, src.ConfigMap.Name)
		}
	}
}

func usesContainer(c corev1.Container, add func(kind, name string)) {
	for _, from := range c.EnvFrom {
		if from.SecretRef != nil {
			add(secrets, from.SecretRef.Name)
		}
		if from.ConfigMapRef != nil {
			add(configs, from.ConfigMapRef.Name)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil {
			add(secrets, r.Name)
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
			add(configs, r.Name)
		}
	}
}

// bound are the volumes that claims are bound to, from both sides.
func (s *Server) bound(ctx context.Context, claimed names) (names, error) {
	out := names{}
	for key := range claimed {
		var claim corev1.PersistentVolumeClaim
		if err := s.Client.Get(ctx, key, &claim); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if claim.Spec.VolumeName == "" {
			continue
		}
		var volume corev1.PersistentVolume
		if err := s.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if ref := volume.Spec.ClaimRef; ref != nil && ref.Namespace == claim.Namespace && ref.Name == claim.Name && (ref.UID == "" || ref.UID == claim.UID) {
			out[client.ObjectKey{Name: volume.Name}] = true
		}
	}
	return out, nil
}

// shown is the part of an object that a node is shown, or nil. Who may join and who has is nobody's to see.
func (r rule) shown(node string, o client.Object) client.Object {
	if secret, ok := o.(*corev1.Secret); ok && secret.Namespace == api.SystemProject {
		switch secret.Type {
		case TypeToken, TypeNode, TypeAuthority:
			return nil
		}
	}
	return r.see(node, o)
}
