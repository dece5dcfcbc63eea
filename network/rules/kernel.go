package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kernel brings a frame and a table of elements into the packet filter of the network
// namespace it is used in.
type Kernel struct {
	frame Frame

	mu sync.Mutex
	// have is what the kernel holds; nil: unknown. Guarded by mu.
	have Elements
	// chains that services' verdicts go to and that the kernel has; guarded by mu.
	chains map[string]bool
	// generation of the kernel's rules after the last look or change; guarded by mu.
	generation uint32
	// conn stays open, because the kernel lets whoever closes a socket wait until the last
	// change was taken apart, which takes longer than the change. nil: none. Guarded by mu.
	conn *nftables.Conn
	// own counts the changes made by this kernel; guarded by mu.
	own uint32
}

// NewKernel does not touch anything yet.
func NewKernel(f Frame) *Kernel { return &Kernel{frame: f, chains: map[string]bool{}} }

func (k *Kernel) table() *nftables.Table {
	return &nftables.Table{Name: k.frame.Table, Family: nftables.TableFamilyIPv4}
}

// connect opens a socket whose buffers hold the largest transaction we make.
func connect(options ...nftables.ConnOption) (*nftables.Conn, error) {
	return nftables.New(append(options, nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(32<<20), c.SetReadBuffer(4<<20))
	}))...)
}

// connection needs mu held, as does Close's part of it.
func (k *Kernel) connection() (c *nftables.Conn, err error) {
	if k.conn == nil {
		k.conn, err = connect(nftables.AsLasting())
	}
	return k.conn, err
}

func (k *Kernel) disconnect() error {
	if k.conn == nil {
		return nil
	}
	c := k.conn
	k.conn = nil
	return c.CloseLasting()
}

// Close closes what is open. The rules stay, and the Kernel can be used again.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.disconnect()
}

// Sync sends what changed in the table since the last Sync, as one transaction. The
// first time, and after an error, it reads what the kernel holds and repairs it.
// It reports whether it found something other than what it had made.
func (k *Kernel) Sync(t *Table) (repaired bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.have != nil {
		if err := k.change(t.take()); err == nil {
			return false, nil
		}
	}
	// A connection after an error may hold what was not sent, or answers that nobody read.
	k.have = nil
	_ = k.disconnect()
	if repaired, err = k.adopt(t.all()); err != nil {
		_ = k.disconnect()
		return false, fmt.Errorf("nft table %s: %w", k.frame.Table, err)
	}
	return repaired, nil
}

// change makes a transaction of what differs from what the kernel holds.
func (k *Kernel) change(changes map[Element]change) error {
	for e, ch := range changes {
		if old, has := k.have[e]; has == ch.wanted && old == ch.value {
			delete(changes, e)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	c, err := k.connection()
	if err != nil {
		return err
	}
	return k.send(c, changes)
}

// Check looks whether somebody else changed the kernel's rules and puts ours back if
// they are not as they were left. It costs one small message where nobody did.
func (k *Kernel) Check(t *Table) (repaired bool, err error) {
	k.mu.Lock()
	now, err := Generation()
	if err == nil && now == k.generation && k.have != nil {
		k.mu.Unlock()
		return false, nil
	}
	k.have = nil
	k.mu.Unlock()
	return k.Sync(t)
}

// Own is how many changes this kernel has made: what the generation was raised by
// besides, others have.
func (k *Kernel) Own() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.own
}

// Remove deletes the table and everything in it.
func (k *Kernel) Remove() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.have = nil
	if err := k.disconnect(); err != nil {
		return err
	}
	c, err := connect()
	if err != nil {
		return err
	}
	c.DelTable(k.table())
	if err := c.Flush(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nft table %s: delete: %w", k.frame.Table, err)
	}
	return nil
}

// adopt makes the kernel hold exactly the frame and the elements. What is right is
// left alone, so that nothing is interrupted by our own start.
func (k *Kernel) adopt(want Elements) (repaired bool, err error) {
	before, err := Generation()
	if err != nil {
		return false, err
	}
	c, err := k.connection()
	if err != nil {
		return false, err
	}
	have, intact, err := k.read(c)
	if err != nil {
		return false, err
	}
	k.generation = before
	if !intact {
		return true, k.rebuild(c, want)
	}
	k.have = have
	changes := map[Element]change{}
	for e := range have {
		if _, ok := want[e]; !ok {
			changes[e] = change{}
		}
	}
	for e, v := range want {
		if old, ok := have[e]; !ok || old != v {
			changes[e] = change{v, true}
		}
	}
	if len(changes) == 0 {
		return false, nil
	}
	return true, k.send(c, changes)
}

// rebuild replaces the table in one transaction.
func (k *Kernel) rebuild(c *nftables.Conn, want Elements) error {
	t := k.table()
	// Adding first makes the deletion succeed where there is no table.
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	for _, name := range setNames() {
		if err := c.AddSet(k.set(name), nil); err != nil {
			return err
		}
	}
	// Connections may be marked with what the table held before.
	k.frame.epoch = newEpoch()
	for _, ch := range k.frame.chains() {
		k.addChain(c, ch)
	}
	k.chains, k.have = map[string]bool{}, nil
	b := k.batch(c)
	for e, v := range want {
		if err := b.put(e, v); err != nil {
			return err
		}
	}
	if err := b.send(); err != nil {
		return err
	}
	k.have = want
	return nil
}

func setNames() []Set {
	names := make([]Set, 0, len(layouts))
	for n := range layouts {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (k *Kernel) set(name Set) *nftables.Set {
	l := layouts[name]
	s := &nftables.Set{Table: k.table(), Name: string(name), IsMap: l.isMap(), KeyType: l.key[0]}
	if len(l.key) > 1 {
		s.KeyType, s.Concatenation = nftables.MustConcatSetType(l.key...), true
	}
	if l.isMap() {
		s.DataType = nftables.MustConcatSetType(l.value...)
	}
	s.Interval = l.ranges
	if l.learned > 0 {
		s.Dynamic, s.HasTimeout, s.Size = true, true, l.learned
	}
	return s
}

func (k *Kernel) addChain(c *nftables.Conn, ch chain) {
	c.AddChain(&nftables.Chain{Name: ch.name, Table: k.table(), Type: ch.kind, Hooknum: ch.hook, Priority: ch.priority})
	k.addRules(c, ch)
}

func (k *Kernel) addRules(c *nftables.Conn, ch chain) {
	to := &nftables.Chain{Name: ch.name, Table: k.table()}
	for _, r := range ch.rules {
		c.AddRule(&nftables.Rule{Table: k.table(), Chain: to, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.text)})
	}
}

// send sends the changes together with what the connection has queued already. After
// an error what the kernel holds is unknown.
func (k *Kernel) send(c *nftables.Conn, changes map[Element]change) (err error) {
	defer func() {
		if err != nil {
			k.have = nil
		}
	}()
	b, revoked := k.batch(c), false
	for e := range changes {
		_, has := k.have[e]
		revoked = revoked || revokes(e, has)
		if has {
			if err := b.drop(e); err != nil {
				return err
			}
		}
	}
	for e, ch := range changes {
		if ch.wanted {
			if err := b.put(e, ch.value); err != nil {
				return err
			}
		}
	}
	if revoked && !k.frame.Flat {
		k.endEpoch(c)
	}
	if err := b.send(); err != nil {
		return err
	}
	for e, ch := range changes {
		delete(k.have, e)
		if ch.wanted {
			k.have[e] = ch.value
		}
	}
	return nil
}

// Supported says whether the kernel has nftables. An error says that it is not known.
func Supported() (bool, error) {
	_, err := Generation()
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// isMissing: a kernel knows no such socket, or takes no message for nftables.
func isMissing(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

// Generation is the number that the kernel raises with every change of any rule.
func Generation() (uint32, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	reply, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, 4),
	})
	if err != nil {
		return 0, fmt.Errorf("nft: ask for the generation: %w", err)
	}
	for _, m := range reply {
		d, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, err
		}
		for d.Next() {
			if d.Type() == unix.NFTA_GEN_ID && len(d.Bytes()) == 4 {
				b := d.Bytes()
				return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), nil
			}
		}
	}
	return 0, errors.New("nft: the kernel gave no generation")
}
