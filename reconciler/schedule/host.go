package schedule

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// host is a node and what is on it. node is nil where pods are bound to a name that no node has.
type host struct {
	name        string
	node        *corev1.Node
	ready       bool
	pressure    map[corev1.NodeConditionType]bool
	allocatable amounts
	// used and scored are the sums over the pods.
	used                 amounts
	scoredCPU, scoredMem int64
	pods                 map[types.UID]*placed
	ports                map[hostPort]int
	disks                map[disk]use
	images               map[string]int64
	// zone is the value of the node's zone label; empty: it is in none.
	zone string
}

// placed is what is kept of a pod that is on a node, or about to be.
type placed struct {
	key                  loop.Key
	uid                  types.UID
	node                 string
	labels               map[string]string
	owner                types.UID
	leaving              bool
	asked                amounts
	scoredCPU, scoredMem int64
	ports                []hostPort
	disks                []diskUse
	// claims that the pod has.
	claims   []string
	affinity *corev1.Affinity
	terms    []heldTerm
	// booked: the world has it on the node ahead of the watch. version is that of the write, 0 as
	// long as it is under way.
	booked  bool
	version int64
}

type hostPort struct {
	ip       string
	protocol corev1.Protocol
	number   int32
}

// disk is a volume that the pods of one node cannot share freely.
type disk struct{ kind, id string }

type diskUse struct {
	disk
	readOnly bool
}

type use struct{ all, writers int }

func newPlaced(pod *corev1.Pod, node string) *placed {
	p := &placed{
		key: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, uid: pod.UID, node: node, labels: pod.Labels,
		leaving: pod.DeletionTimestamp != nil, asked: requests(pod), ports: hostPorts(pod), disks: disksOf(pod), claims: api.ClaimNames(&pod.Spec), affinity: podAffinity(pod),
	}
	if o := metav1.GetControllerOf(pod); o != nil {
		p.owner = o.UID
	}
	p.scoredCPU, p.scoredMem = scored(pod)
	return p
}

// podAffinity leaves out what matters no more once a pod is placed.
func podAffinity(pod *corev1.Pod) *corev1.Affinity {
	if a := pod.Spec.Affinity; a != nil && (a.PodAffinity != nil || a.PodAntiAffinity != nil) {
		return a
	}
	return nil
}

func newHost(name string) *host {
	return &host{name: name, pods: map[types.UID]*placed{}, ports: map[hostPort]int{}, disks: map[disk]use{}}
}

func (h *host) set(n *corev1.Node) {
	h.node, h.ready, h.pressure = n, false, nil
	h.allocatable = amountsOf(n.Status.Allocatable)
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady:
			h.ready = c.Status == corev1.ConditionTrue
		case c.Status == corev1.ConditionTrue:
			if h.pressure == nil {
				h.pressure = map[corev1.NodeConditionType]bool{}
			}
			h.pressure[c.Type] = true
		}
	}
	if h.zone = n.Labels[corev1.LabelTopologyZone]; h.zone == "" {
		h.zone = n.Labels[corev1.LabelFailureDomainBetaZone]
	}
	h.images = nil
	for _, i := range n.Status.Images {
		for _, name := range i.Names {
			if h.images == nil {
				h.images = map[string]int64{}
			}
			h.images[name] = i.SizeBytes
		}
	}
}

func (h *host) add(p *placed, n int64) {
	h.used.add(p.asked, n)
	h.scoredCPU += n * p.scoredCPU
	h.scoredMem += n * p.scoredMem
	for _, port := range p.ports {
		if h.ports[port] += int(n); h.ports[port] == 0 {
			delete(h.ports, port)
		}
	}
	for _, d := range p.disks {
		u := h.disks[d.disk]
		u.all += int(n)
		if !d.readOnly {
			u.writers += int(n)
		}
		if h.disks[d.disk] = u; u.all == 0 {
			delete(h.disks, d.disk)
		}
	}
	if n > 0 {
		h.pods[p.uid] = p
	} else {
		delete(h.pods, p.uid)
	}
}

func hostPorts(pod *corev1.Pod) []hostPort {
	var out []hostPort
	for _, list := range [][]corev1.Container{pod.Spec.Containers, sidecars(pod)} {
		for _, c := range list {
			for _, p := range c.Ports {
				if p.HostPort > 0 {
					out = append(out, hostPort{anyAddress(p.HostIP), cmp.Or(p.Protocol, corev1.ProtocolTCP), p.HostPort})
				}
			}
		}
	}
	return out
}

func sidecars(pod *corev1.Pod) []corev1.Container {
	var out []corev1.Container
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out, c)
		}
	}
	return out
}

func anyAddress(ip string) string {
	if ip == "" || ip == "::" {
		return "0.0.0.0"
	}
	return ip
}

// taken says that a port of a node is in use: on the same address, or on all.
func (h *host) taken(want hostPort) bool {
	if len(h.ports) == 0 {
		return false
	}
	for have := range h.ports {
		if have.number == want.number && have.protocol == want.protocol && (have.ip == want.ip || have.ip == "0.0.0.0" || want.ip == "0.0.0.0") {
			return true
		}
	}
	return false
}

// disksOf are the volumes for which Kubernetes' NoDiskConflict looks: a disk may be on a node once,
// or by readers only.
func disksOf(pod *corev1.Pod) []diskUse {
	var out []diskUse
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.GCEPersistentDisk != nil:
			out = append(out, diskUse{disk{"gce", v.GCEPersistentDisk.PDName}, v.GCEPersistentDisk.ReadOnly})
		case v.AWSElasticBlockStore != nil:
			// Kubernetes lets no two pods of a node share one, readers neither.
			out = append(out, diskUse{disk{"ebs", v.AWSElasticBlockStore.VolumeID}, false})
		case v.ISCSI != nil:
			out = append(out, diskUse{disk{"iscsi", v.ISCSI.IQN}, v.ISCSI.ReadOnly})
		case v.RBD != nil:
			for _, monitor := range v.RBD.CephMonitors {
				out = append(out, diskUse{disk{"rbd", monitor + "/" + cmp.Or(v.RBD.RBDPool, "rbd") + "/" + v.RBD.RBDImage}, v.RBD.ReadOnly})
			}
		}
	}
	return out
}

func (h *host) conflicts(d diskUse) bool {
	u := h.disks[d.disk]
	return u.writers > 0 || u.all > 0 && !d.readOnly
}
