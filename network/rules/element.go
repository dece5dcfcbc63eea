package rules

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
)

// Set names a set of the table.
type Set string

// The sets of the table; the package documentation says what they hold.
const (
	Services  Set = "services"
	Externals Set = "externals"
	NodePorts Set = "nodeports"
	FarPorts  Set = "farports"
	Refused   Set = "refused"
	Endpoints Set = "endpoints"
	Affinity  Set = "affinity"
	Hairpin   Set = "hairpin"
	Netids    Set = "netids"
	Members   Set = "members"
	HostPorts Set = "hostports"
	Overlays  Set = "overlays"

	PolicedIn   Set = "policedin"
	PolicedOut  Set = "policedout"
	GroupsIn    Set = "groupsin"
	GroupsOut   Set = "groupsout"
	GroupPeers  Set = "grouppeers"
	GroupPorts  Set = "groupports"
	GroupWays   Set = "groupways"
	GroupBlocks Set = "groupblocks"
	GroupRanges Set = "groupranges"
	Firewalls   Set = "firewalls"
	Firewalled  Set = "firewalled"
	Gateways    Set = "gateways"
	Carries     Set = "carries"
	Admits      Set = "admits"
	Peers       Set = "peers"
)

// Element is one entry of a set, named as nft writes it, e.g. "172.30.0.1 . tcp . 80".
type Element struct {
	Set Set
	Key string
}

// Elements maps entries to what they hold; the empty string for a set without values.
type Elements map[Element]string

func (e Element) compare(o Element) int {
	return cmp.Or(cmp.Compare(e.Set, o.Set), cmp.Compare(e.Key, o.Key))
}

func (e Elements) sorted() []Element {
	keys := make([]Element, 0, len(e))
	for k := range e {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, Element.compare)
	return keys
}

// String is one line per element, sorted.
func (e Elements) String() string {
	var b strings.Builder
	for _, k := range e.sorted() {
		fmt.Fprintf(&b, "%s %s", k.Set, k.Key)
		if v := e[k]; v != "" {
			fmt.Fprintf(&b, " : %s", v)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// layout is the types of a set's keys and, for a map, of its values.
type layout struct {
	key, value []nftables.SetDatatype
	// learned sets are filled by the kernel as packets pass, with at most so many entries
	// that end by themselves; what they hold is not ours to compare.
	learned uint32
	// ranges: each field of a key may be one, as in 10.0.0.0-10.0.0.255. No two elements may
	// overlap.
	ranges bool
}

func (l layout) isMap() bool { return len(l.value) > 0 }

var (
	address  = nftables.TypeIPAddr
	protocol = nftables.TypeInetProto
	port     = nftables.TypeInetService
	mark     = nftables.TypeMark
	verdict  = nftables.TypeVerdict
)

var layouts = map[Set]layout{
	Services:  {key: fields(address, protocol, port), value: fields(verdict)},
	Externals: {key: fields(address, protocol, port), value: fields(verdict)},
	NodePorts: {key: fields(protocol, port), value: fields(verdict)},
	FarPorts:  {key: fields(protocol, port), value: fields(verdict)},
	Refused:   {key: fields(address, protocol, port)},
	Endpoints: {key: fields(address, protocol, port, mark), value: fields(address, port)},
	Affinity:  {key: fields(address, address, protocol, port), value: fields(mark), learned: 1 << 18},
	Hairpin:   {key: fields(address, address)},
	Netids:    {key: fields(address), value: fields(mark)},
	Members:   {key: fields(address, mark)},
	HostPorts: {key: fields(port)},
	Overlays:  {key: fields(port)},

	PolicedIn:   {key: fields(address), value: fields(verdict)},
	PolicedOut:  {key: fields(address), value: fields(verdict)},
	GroupsIn:    {key: fields(address), value: fields(mark)},
	GroupsOut:   {key: fields(address), value: fields(mark)},
	GroupPeers:  {key: fields(mark, address)},
	GroupPorts:  {key: fields(mark, protocol, port)},
	GroupWays:   {key: fields(mark, address, protocol, port)},
	GroupBlocks: {key: fields(mark, address), ranges: true},
	GroupRanges: {key: fields(mark, address, protocol, port), ranges: true},
	Firewalls:   {key: fields(address), value: fields(mark)},
	Firewalled:  {key: fields(address)},
	Gateways:    {key: fields(address)},
	Carries:     {key: fields(address), value: fields(mark)},
	Admits:      {key: fields(address, mark)},
	Peers:       {key: fields(address)},
}

func fields(t ...nftables.SetDatatype) []nftables.SetDatatype { return t }

var protocols = map[string]byte{"tcp": 6, "udp": 17, "sctp": 132}

// encode turns text to what the kernel holds: every field on four bytes.
func encode(text string, fields []nftables.SetDatatype) ([]byte, error) {
	out, _, err := encodeIn(make([]byte, 0, 4*len(fields)), text, fields)
	return out, err
}

// encodeIn is encode, into bytes that it appends to.
func encodeIn(bytes []byte, text string, fields []nftables.SetDatatype) (out, _ []byte, err error) {
	begin, rest, more := len(bytes), text, true
	for _, f := range fields {
		var word string
		if word, rest, more = cutField(rest, more); word == "" {
			break
		}
		b, err := encodeField(word, f.Name)
		if err != nil {
			return nil, bytes, fmt.Errorf("element %q: %w", text, err)
		}
		bytes = append(bytes, b[:]...)
	}
	if more || len(bytes)-begin != 4*len(fields) {
		return nil, bytes, fmt.Errorf("element %q: %d fields, want %d", text, strings.Count(text, " . ")+1, len(fields))
	}
	if len(fields) == 1 {
		return bytes[begin : begin+int(fields[0].Bytes) : len(bytes)], bytes, nil
	}
	return bytes[begin:len(bytes):len(bytes)], bytes, nil
}

// cutField cuts off the first field, and says whether there are more. more: there is one.
func cutField(text string, more bool) (word, rest string, _ bool) {
	if i := strings.IndexByte(text, ' '); i >= 0 && more && strings.HasPrefix(text[i:], " . ") {
		return text[:i], text[i+3:], true
	}
	return text, "", false
}

// encodeRange is encode for keys whose fields may be ranges: their first and their last.
func encodeRange(text string, fields []nftables.SetDatatype) (first, last []byte, err error) {
	words := strings.Split(text, " . ")
	ends := slices.Clone(words)
	for i, w := range words {
		if from, to, isRange := strings.Cut(w, "-"); isRange {
			words[i], ends[i] = from, to
		}
	}
	if first, err = encode(strings.Join(words, " . "), fields); err != nil {
		return nil, nil, err
	}
	last, err = encode(strings.Join(ends, " . "), fields)
	return first, last, err
}

// decodeRange is encodeRange's inverse.
func decodeRange(first, last []byte, fields []nftables.SetDatatype) (string, error) {
	from, err := decode(first, fields)
	if err != nil {
		return "", err
	}
	to, err := decode(last, fields)
	if err != nil {
		return "", err
	}
	words, ends := strings.Split(from, " . "), strings.Split(to, " . ")
	for i := range words {
		if words[i] != ends[i] {
			words[i] += "-" + ends[i]
		}
	}
	return strings.Join(words, " . "), nil
}

func encodeField(word, kind string) (b [4]byte, err error) {
	switch kind {
	case address.Name:
		a, err := netip.ParseAddr(word)
		if err != nil || !a.Is4() {
			return b, fmt.Errorf("%q is not an IPv4 address", word)
		}
		return a.As4(), nil
	case protocol.Name:
		p, ok := protocols[word]
		if !ok {
			return b, fmt.Errorf("unknown protocol %q", word)
		}
		b[0] = p
	case port.Name:
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return b, err
		}
		binary.BigEndian.PutUint16(b[:], uint16(n))
	case mark.Name:
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return b, err
		}
		binary.NativeEndian.PutUint32(b[:], uint32(n))
	}
	return b, nil
}

// decode is encode's inverse, for what was read back from the kernel.
func decode(data []byte, fields []nftables.SetDatatype) (string, error) {
	words := make([]string, 0, len(fields))
	for i, f := range fields {
		var b [4]byte
		if len(data) < 4*i+int(f.Bytes) {
			return "", fmt.Errorf("element %x is too short for %d fields", data, len(fields))
		}
		copy(b[:], data[4*i:])
		switch f.Name {
		case address.Name:
			words = append(words, netip.AddrFrom4(b).String())
		case protocol.Name:
			words = append(words, protocolName(b[0]))
		case port.Name:
			words = append(words, strconv.Itoa(int(binary.BigEndian.Uint16(b[:]))))
		case mark.Name:
			words = append(words, strconv.FormatUint(uint64(binary.NativeEndian.Uint32(b[:])), 10))
		}
	}
	return strings.Join(words, " . "), nil
}

func protocolName(n byte) string {
	for name, p := range protocols {
		if p == n {
			return name
		}
	}
	return strconv.Itoa(int(n))
}
