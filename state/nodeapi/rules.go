package nodeapi

import (
	"context"
	"fmt"
	"maps"

	projectv1 "github.com/openshift/api/project/v1"
	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// rule is what nodes may do with the objects of a kind. What is nil is not allowed to anybody.
type rule struct {
	group string
	// see is the part of an object that a node is shown; nil: nothing.
	see func(node string, o client.Object) client.Object
	// references: only objects that pods of the node need are shown.
	references bool
	// single objects are shown, by name; no list.
	single bool
	// status says why a node may not give an object the status of next; nil: it may.
	status func(p place, live, next client.Object) error
	create func(ctx context.Context, s *Server, r request, o client.Object) error
	update func(p place, live, next client.Object) error
	remove func(r request, live client.Object, o metav1.DeleteOptions) error
}

// place is the node that asks, as live state has it.
type place struct {
	request
	node *corev1.Node
}

const (
	networkGroup = "network.openshift.io"
	kubeNetwork  = "networking.k8s.io"
)

// rules are all that nodes may do. Kinds that are not served (yet) may be named.
var rules = map[string]rule{
	"Node":    {see: whole, status: ownNode, create: createNode},
	"Pod":     {see: seePod, status: ownPod, remove: removePod},
	"Event":   {see: seeEvent, single: true, create: createEvent, update: updateEvent},
	"Secret":  {see: whole, references: true},
	"Project": {group: projectv1.GroupName, see: whole},

	"ConfigMap":             {see: whole, references: true},
	"PersistentVolumeClaim": {see: whole, references: true},
	"ServiceAccount":        {see: seeAccount, references: true},
	"PersistentVolume":      {see: whole, references: true, update: reclaimVolume},

	"Service":             {see: whole},
	"Endpoints":           {see: whole},
	"NetNamespace":        {group: networkGroup, see: whole},
	"HostSubnet":          {group: networkGroup, see: whole},
	"EgressNetworkPolicy": {group: networkGroup, see: whole},
	"NetworkPolicy":       {group: kubeNetwork, see: whole},

	"SecurityContextConstraints": {group: securityv1.GroupName, see: whole},
}

// whole shows all but copies of the object and who wrote what.
func whole(_ string, o client.Object) client.Object {
	o.SetManagedFields(nil)
	if a := o.GetAnnotations(); a[corev1.LastAppliedConfigAnnotation] != "" {
		a = maps.Clone(a)
		delete(a, corev1.LastAppliedConfigAnnotation)
		o.SetAnnotations(a)
	}
	return o
}

// seePod shows the node's own pods whole, and of others' what rules, names and routes are made from.
func seePod(node string, o client.Object) client.Object {
	pod := o.(*corev1.Pod)
	if pod.Spec.NodeName == node {
		return whole(node, o)
	}
	out := &corev1.Pod{TypeMeta: pod.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
		CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp, DeletionGracePeriodSeconds: pod.DeletionGracePeriodSeconds,
	}}
	out.Spec.NodeName, out.Spec.HostNetwork = pod.Spec.NodeName, pod.Spec.HostNetwork
	out.Spec.Hostname, out.Spec.Subdomain = pod.Spec.Hostname, pod.Spec.Subdomain
	// A claim that one pod may use at a time is looked for in all.
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			out.Spec.Volumes = append(out.Spec.Volumes, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: v.PersistentVolumeClaim}})
		}
	}
	for _, c := range pod.Spec.Containers {
		out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Name: c.Name, Ports: c.Ports})
	}
	out.Status.Phase, out.Status.PodIP, out.Status.PodIPs = pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs
	for _, c := range pod.Status.Conditions {
		switch c.Type {
		case corev1.PodReady:
			out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status})
		case api.HandOver: // what its node asks this one
			out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status, Message: c.Message})
		}
	}
	return out
}

// seeAccount shows which secrets an account's pods pull with.
func seeAccount(_ string, o client.Object) client.Object {
	a := o.(*corev1.ServiceAccount)
	return &corev1.ServiceAccount{
		TypeMeta: a.TypeMeta, ImagePullSecrets: a.ImagePullSecrets,
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name, UID: a.UID, ResourceVersion: a.ResourceVersion},
	}
}

// seeEvent shows what the node itself has told.
func seeEvent(node string, o client.Object) client.Object {
	if ev := o.(*corev1.Event); ev.Source.Host == node {
		return whole(node, o)
	}
	return nil
}
