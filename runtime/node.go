package runtime

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/docker/docker/api/types/system"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Heartbeat is how often the node's status is renewed.
const Heartbeat = 10 * time.Second

// nodeFacts is what is known of the node's size.
type nodeFacts struct {
	mu   sync.Mutex
	list corev1.ResourceList // guarded by mu
	root string              // where the engine keeps its data; guarded by mu
}

func (n *nodeFacts) engineRoot() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.root
}

func (n *nodeFacts) capacity() corev1.ResourceList {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list.DeepCopy()
}

// nodeController registers the node and renews its status. It is woken by its own
// timer, and by whoever changes or deletes the Node.
func (a *Agent) nodeController() loop.Controller {
	a.wakeNode()
	return loop.Controller{
		Name: "node",
		Watches: []loop.Watch{{List: &corev1.NodeList{}, Keys: func(o client.Object) []loop.Key {
			if o.GetName() != a.Node {
				return nil
			}
			return []loop.Key{{Name: a.Node}}
		}}},
		Wake: a.nodeWake, Reconcile: a.reconcileNode,
	}
}

func (a *Agent) reconcileNode(ctx context.Context, key loop.Key) (loop.Result, error) {
	var node corev1.Node
	err := a.Client.Get(ctx, key, &node)
	if apierrors.IsNotFound(err) {
		node = corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.Node, Labels: map[string]string{
			corev1.LabelHostname: a.Node, corev1.LabelOSStable: "linux", corev1.LabelArchStable: goruntime.GOARCH,
		}}}
		err = a.Client.Create(ctx, &node)
	}
	if err != nil {
		return loop.Result{}, err
	}
	if conflict, err := a.writeAnswers(ctx, &node); conflict || err != nil {
		return loop.Result{After: time.Millisecond}, err
	}
	now := a.Clock()
	info, infoErr := a.Docker.Info(ctx)
	if rest := due(&node, infoErr == nil, now); rest > 0 {
		if infoErr == nil {
			a.size(info, node.Status)
		}
		return loop.Result{After: rest}, nil
	}
	next := node.DeepCopy()
	if infoErr == nil {
		a.describe(next, info)
		d, diskErr := diskOf(info.DockerRootDir)
		free, memoryErr := memoryFree()
		for _, c := range pressures(d, diskErr, free, memoryErr, now) {
			setCondition(next, c)
		}
	}
	setReady(next, infoErr, now)
	a.setAnswers(next, now)
	if err := a.Client.Status().Patch(ctx, next, client.MergeFrom(&node)); err != nil {
		return loop.Result{}, err
	}
	return loop.Result{After: Heartbeat}, nil
}

// due is how long the status may stay as it is: what is not news waits for the next
// heartbeat. One from the future was sent before the clock was set back.
func due(node *corev1.Node, ready bool, now time.Time) time.Duration {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && (c.Status == corev1.ConditionTrue) == ready {
			if rest := c.LastHeartbeatTime.Add(Heartbeat).Sub(now); rest <= Heartbeat {
				return rest
			}
		}
	}
	return 0
}

// size is what the node has, and what of it pods may ask for: of the disk only so much
// that none of them has to go. What cannot be read stays as it was.
func (a *Agent) size(info system.Info, before corev1.NodeStatus) (capacity, allocatable corev1.ResourceList) {
	capacity = corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(info.NCPU), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(info.MemTotal, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(a.MaxPods, resource.DecimalSI),
	}
	allocatable = capacity.DeepCopy()
	if total, err := a.diskTotal(info); err == nil {
		capacity[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(total, resource.BinarySI)
		allocatable[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(total/100*int64(a.DiskEvict), resource.BinarySI)
	} else if q, known := before.Allocatable[corev1.ResourceEphemeralStorage]; known {
		a.Log.Warn("see how large the disks are", "error", err)
		capacity[corev1.ResourceEphemeralStorage] = before.Capacity[corev1.ResourceEphemeralStorage]
		allocatable[corev1.ResourceEphemeralStorage] = q
	}
	a.node.mu.Lock()
	defer a.node.mu.Unlock()
	a.node.list, a.node.root = allocatable.DeepCopy(), info.DockerRootDir
	return capacity, allocatable
}

// diskTotal is the size in bytes of the disk that pods write to; of the smaller one, where
// the engine's and that of the volumes are two.
func (a *Agent) diskTotal(info system.Info) (int64, error) {
	engine, err := diskOf(info.DockerRootDir)
	if err != nil {
		return 0, err
	}
	volumes, err := diskOf(a.Dir)
	if err != nil {
		return 0, err
	}
	return int64(min(engine.total, volumes.total)), nil
}

func (a *Agent) describe(node *corev1.Node, info system.Info) {
	node.Status.Capacity, node.Status.Allocatable = a.size(info, node.Status)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: a.Node}}
	if a.HostIP.IsValid() {
		node.Status.Addresses = append([]corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: a.HostIP.String()}}, node.Status.Addresses...)
	}
	node.Status.NodeInfo.KernelVersion = info.KernelVersion
	node.Status.NodeInfo.OSImage = info.OperatingSystem
	node.Status.NodeInfo.OperatingSystem = info.OSType
	node.Status.NodeInfo.Architecture = goruntime.GOARCH
	node.Status.NodeInfo.ContainerRuntimeVersion = "docker://" + info.ServerVersion
}

func setReady(node *corev1.Node, failure error, now time.Time) {
	c := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "EngineReady", Message: "Docker Engine answers",
		LastHeartbeatTime: metav1.Time{Time: now.Truncate(time.Second)},
	}
	if failure != nil {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "EngineNotReady", fmt.Sprintf("Docker Engine: %v", failure)
	}
	setCondition(node, c)
}

// setCondition replaces the condition of its type; it keeps its time while it keeps its status.
func setCondition(node *corev1.Node, c corev1.NodeCondition) {
	c.LastTransitionTime = c.LastHeartbeatTime
	for i, old := range node.Status.Conditions {
		if old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			node.Status.Conditions[i] = c
			return
		}
	}
	node.Status.Conditions = append(node.Status.Conditions, c)
}

// outboundAddress is the address from which this machine reaches others. Nothing is
// sent: connecting a UDP socket only asks the kernel for the route.
func outboundAddress() netip.Addr {
	conn, err := net.Dial("udp4", "192.0.2.1:9") // RFC 5737: belongs to nobody
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer conn.Close()
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
