package nodeapi

import (
	"context"
	"errors"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// ownNode: a node says how it is, and nothing of others. Where it is reached it said when it joined.
func ownNode(p place, live, next client.Object) error {
	if live.GetName() != p.name {
		return p.stranger()
	}
	node := next.(*corev1.Node)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: p.name}}
	if at := node.Annotations[api.NodeAddress]; at != "" {
		node.Status.Addresses = append([]corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: at}}, node.Status.Addresses...)
	}
	return nil
}

// createNode: a node whose Node was taken away, but not the node itself, may make it anew, bare: what
// steers pods and addresses to it is for others to say.
func createNode(ctx context.Context, s *Server, r request, o client.Object) error {
	node := o.(*corev1.Node)
	if node.Name != r.name {
		return r.stranger()
	}
	secret := secretNamed(nodePrefix + r.name)
	if err := s.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return err
	}
	*node = *bareNode(r.name, string(secret.Data[keyAddress]), node.Labels[corev1.LabelArchStable])
	return nil
}

// ownPod: a node says how its pods are, with addresses that are its to give.
func ownPod(p place, live, next client.Object) error {
	was, pod := live.(*corev1.Pod), next.(*corev1.Pod)
	if was.Spec.NodeName != p.name {
		return p.stranger()
	}
	subnet, err := netip.ParsePrefix(p.node.Spec.PodCIDR)
	ips := []string{pod.Status.PodIP}
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	for _, ip := range ips {
		if own := p.node.Annotations[api.NodeAddress]; was.Spec.HostNetwork && ip != "" {
			if ip != own {
				return p.forbidden("%s: address %s is not the node's own, %s", p.what(), ip, own)
			}
			continue
		}
		a, bad := netip.ParseAddr(ip)
		if ip != "" && (err != nil || bad != nil || !subnet.Contains(a)) {
			return p.forbidden("%s: address %s is not of its subnet %s", p.what(), ip, p.node.Spec.PodCIDR)
		}
	}
	return nil
}

// removePod: a node takes its own pods away, that very one, after it was asked to go.
func removePod(r request, live client.Object, o metav1.DeleteOptions) error {
	pod := live.(*corev1.Pod)
	switch {
	case pod.Spec.NodeName != r.name:
		return r.stranger()
	case o.Preconditions == nil || o.Preconditions.UID == nil:
		return r.forbidden("%s: say which by its uid", r.what())
	case *o.Preconditions.UID != pod.UID:
		return apierrors.NewConflict(r.kind.GroupResource(), pod.Name, errOther)
	case pod.DeletionTimestamp == nil:
		return r.forbidden("%s was not asked to go", r.what())
	case len(o.DryRun) > 0 || o.PropagationPolicy != nil:
		return apierrors.NewBadRequest("dryRun and propagationPolicy are not for nodes")
	}
	return nil
}

// maxEvent bounds the texts of an event, in bytes.
const maxEvent = 2048

// createEvent: a node tells of its Node and of its own pods. Who tells, the server writes.
func createEvent(ctx context.Context, s *Server, r request, o client.Object) error {
	ev := o.(*corev1.Event)
	if err := checkEvent(r, ev); err != nil {
		return err
	}
	about := ev.InvolvedObject
	switch {
	case about.Kind == "Node" && about.Name == r.name && about.Namespace == "" && r.key.Namespace == metav1.NamespaceDefault:
	case about.Kind == "Pod" && about.Namespace == r.key.Namespace:
		if err := s.ownsPod(ctx, r, about); err != nil {
			return err
		}
	default:
		return r.forbidden("it may tell of itself and of its own pods only")
	}
	ev.Source.Host, ev.ReportingInstance = r.name, r.name
	ev.Labels, ev.Annotations, ev.OwnerReferences, ev.Finalizers = nil, nil, nil, nil
	return nil
}

func checkEvent(r request, ev *corev1.Event) error {
	if len(ev.Message) > maxEvent || len(ev.Reason) > 128 || len(ev.Action) > 128 || len(ev.Source.Component) > 128 || ev.Related != nil {
		return r.forbidden("an event has a message of at most %d bytes, and tells of one object", maxEvent)
	}
	if ev.Type != corev1.EventTypeNormal && ev.Type != corev1.EventTypeWarning {
		return r.forbidden("an event is Normal or Warning")
	}
	return nil
}

// ownsPod says whether a pod that an event is about is the node's. Of one that is gone nobody can say.
func (s *Server) ownsPod(ctx context.Context, r request, about corev1.ObjectReference) error {
	var pod corev1.Pod
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: about.Namespace, Name: about.Name}, &pod)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err != nil || pod.Spec.NodeName != r.name || about.UID != "" && about.UID != pod.UID {
		return r.forbidden("it may tell of itself and of its own pods only")
	}
	return nil
}

var errOther = errors.New("another pod has this name")

// updateEvent: what a node has told it may count.
func updateEvent(p place, live, asked client.Object) error {
	have, ev := live.(*corev1.Event), asked.(*corev1.Event)
	if have.Source.Host != p.name {
		return p.stranger()
	}
	if err := checkEvent(p.request, ev); err != nil {
		return err
	}
	if v := ev.ResourceVersion; v != "" && v != have.ResourceVersion {
		return apierrors.NewConflict(p.kind.GroupResource(), have.Name, errors.New("the event has changed"))
	}
	have.Count, have.LastTimestamp = ev.Count, ev.LastTimestamp
	if have.LastTimestamp.IsZero() {
		have.LastTimestamp = metav1.Time{Time: time.Now()}
	}
	return nil
}
