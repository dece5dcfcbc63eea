package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/network/dns"
	"slipway.dev/slipway/network/rules"
)

// Recorder tells people what happened.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Options are what a Driver depends on.
type Options struct {
	// Node is this node's name.
	Node string
	// Client reaches live state.
	Client client.WithWatch
	// ClusterNetwork holds all pods' addresses; default 10.128.0.0/14. HostPrefix is the
	// size of each node's part; default 23. ServiceNetwork holds the addresses of
	// services; default 172.30.0.0/16. (OpenShift 3's defaults.)
	ClusterNetwork, ServiceNetwork netip.Prefix
	HostPrefix                     int
	// Name begins the names of links, and names the nft table and, in upper case, the
	// iptables chains, so that several drivers live on one host. At most 7 lower-case letters
	// and digits; default "slipway".
	Name string
	// Dir keeps addresses over restarts of this process.
	Dir string
	// PacketFilter is what carries out service rules and isolation: nftables, iptables (in chains),
	// or the same with the program iptables-legacy. Default: nftables where the kernel has it,
	// and iptables where not.
	PacketFilter string
	// Flat lets all pods reach each other; otherwise projects are isolated from each
	// other (OpenShift 3's multitenant mode).
	Flat bool
	// Subnet gives this node its part of the cluster network, or the one that it has; before
	// is what this node remembers, if anything. Default: wait for the node's HostSubnet.
	Subnet func(ctx context.Context, before netip.Prefix) (netip.Prefix, error)
	// VNI and OverlayPort are the VXLAN identifier and the UDP port of what carries pods'
	// traffic between nodes, the same on all of them; default 1 and 4789 (RFC 7348).
	VNI         uint32
	OverlayPort uint16
	// HostPorts are TCP ports of the node that pods may open, besides DNS: e.g. the router's.
	HostPorts []uint16
	// ResolvConf names the resolvers for what lies outside; default /etc/resolv.conf.
	ResolvConf string
	// Recorder may be nil.
	Recorder Recorder
	Log      *slog.Logger
	// Clock defaults to time.Now.
	Clock func() time.Time
}

// shortName leaves room for "-" and seven digits in the name of a link.
var shortName = regexp.MustCompile(`^[a-z][a-z0-9]{0,6}$`)

func (o *Options) complete() error {
	if !o.ClusterNetwork.IsValid() {
		o.ClusterNetwork = netip.MustParsePrefix("10.128.0.0/14")
	}
	if !o.ServiceNetwork.IsValid() {
		o.ServiceNetwork = netip.MustParsePrefix("172.30.0.0/16")
	}
	if o.HostPrefix == 0 {
		o.HostPrefix = 23
	}
	if o.Name == "" {
		o.Name = "slipway"
	}
	o.VNI, o.OverlayPort = cmp.Or(o.VNI, 1), cmp.Or(o.OverlayPort, 4789)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.ClusterNetwork, o.ServiceNetwork = o.ClusterNetwork.Masked(), o.ServiceNetwork.Masked()
	switch {
	case o.Node == "" || o.Client == nil || o.Dir == "":
		return errors.New("network: Node, Client and Dir are needed")
	case !shortName.MatchString(o.Name):
		return fmt.Errorf("network: name %q: want 1 to 7 lower-case letters and digits", o.Name)
	case !o.ClusterNetwork.Addr().Is4() || !o.ServiceNetwork.Addr().Is4() || o.ClusterNetwork.Bits() < 4:
		return fmt.Errorf("network: cluster network %s and service network %s must be IPv4, and the former no wider than /4", o.ClusterNetwork, o.ServiceNetwork)
	case o.ClusterNetwork.Overlaps(o.ServiceNetwork):
		return fmt.Errorf("network: cluster network %s and service network %s overlap", o.ClusterNetwork, o.ServiceNetwork)
	case o.PacketFilter != "" && o.PacketFilter != WithNFTables && o.PacketFilter != WithIPTables && o.PacketFilter != legacyProgram:
		return fmt.Errorf("network: packet filter %q: want %s, %s or %s", o.PacketFilter, WithNFTables, WithIPTables, legacyProgram)
	case o.VNI >= 1<<24:
		return fmt.Errorf("network: VXLAN identifier %d: want 1 to %d", o.VNI, 1<<24-1)
	case o.HostPrefix < o.ClusterNetwork.Bits() || o.HostPrefix > 30:
		return fmt.Errorf("network: host prefix %d: want %d to 30 in cluster network %s", o.HostPrefix, o.ClusterNetwork.Bits(), o.ClusterNetwork)
	}
	return nil
}

// Driver is one node's network.
type Driver struct {
	Options
	table   *rules.Table
	records *dns.Records
	leases  *leases
	wake    chan key
	// followed is what the kernel has.
	followed followed

	mu         sync.Mutex
	up         bool            // guarded by mu, as all that follows
	subnet     netip.Prefix    // this node's part of the cluster network
	filter     packetFilter    //
	earlier    []packetFilter  // what may have made rules of this name before
	nftables   bool            // the kernel has it; known after choosePrograms, as the next two
	byChains   bool            // filter is made of iptables' chains
	program    string          // of iptables
	server     *dns.Server     //
	primed     bool            // everything in live state was read once
	tenancy    *tenancy        //
	police     *police         // policies and whom they select
	wishes     *wishes         // links that pods ask for
	hosts      map[string]host // nodes, by name
	overlayMTU int             // of the link to the other nodes; 0: there is none
	fitted     int             // the MTU that all pods have; 0: unknown
	named      []netip.Addr    // nodes that the firewall names
	checked    moment          // when iptables was looked at
	looked     moment          // when the node was looked at
	lookedAt   time.Time       // the same by the clock
	held       holds           // sockets that keep pods' ports of the node
	lost       map[way]bool    // ways over UDP whose connections are to be forgotten
	swept      bool            // connections from before this process were looked at
	trouble    string          // the last error of a repair, to be said once
}

// New does not touch the node yet.
func New(o Options) (*Driver, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	d := &Driver{Options: o, table: rules.NewTable(), records: dns.NewRecords(o.ClusterNetwork, o.ServiceNetwork),
		wake: make(chan key, 1), tenancy: newTenancy(), police: newPolice(), wishes: newWishes(), hosts: map[string]host{}, lost: map[way]bool{}, held: holds{}}
	if d.Subnet == nil {
		d.Subnet = d.assignedSubnet
	}
	d.leases = &leases{file: filepath.Join(o.Dir, "network.json"), clock: o.Clock}
	ports := rules.Elements{}
	for _, p := range o.HostPorts {
		ports[rules.Element{Set: rules.HostPorts, Key: fmt.Sprint(p)}] = ""
	}
	d.table.Put("options", ports)
	return d, nil
}

// linkPrefix begins the names of the pods' links on the node.
func (d *Driver) linkPrefix() string { return d.Name + "-" }

// linkName is the name of a pod's link on the node. It holds the lower 28 bits of the
// address, which with the cluster network make it whole again.
func (d *Driver) linkName(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("%s%x%02x%02x%02x", d.linkPrefix(), b[0]&0xf, b[1], b[2], b[3])
}

// linkAddress is linkName's inverse.
func (d *Driver) linkAddress(link string) (netip.Addr, bool) {
	hex, ok := strings.CutPrefix(link, d.linkPrefix())
	var n uint32
	if _, err := fmt.Sscanf(hex, "%07x", &n); !ok || err != nil || len(hex) != 7 {
		return netip.Addr{}, false
	}
	top := d.ClusterNetwork.Addr().As4()[0] & 0xf0
	return netip.AddrFrom4([4]byte{top | byte(n>>24), byte(n >> 16), byte(n >> 8), byte(n)}), true
}

func (d *Driver) bridgeName() string { return d.Name + "0" }

// gateway is the first address of the subnet; it needs mu held.
func (d *Driver) gateway() netip.Addr { return d.subnet.Addr().Next() }

// Resolver is the address at which pods find DNS: the gateway. It is known after Up.
func (d *Driver) Resolver() netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.up {
		return netip.Addr{}
	}
	return d.gateway()
}
