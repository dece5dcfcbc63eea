package network

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/state/loop"
)

// lookEvery is how often the node is looked at, and glanceEvery how often it is found out
// whether somebody has changed rules, which costs one small message where nftables counts
// the changes.
const (
	lookEvery   = time.Second
	glanceEvery = 200 * time.Millisecond
)

// repair looks whether the node still is as this driver made it, and puts back what is
// missing: what others flush or delete, they seldom mean to take from us. It never gives up
// nor waits longer, whatever the last look found.
func (d *Driver) repair(ctx context.Context, _ key) (loop.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := loop.Result{After: glanceEvery}
	if !d.up {
		return again, nil
	}
	if d.byChains {
		again.After = lookEvery / 2
	}
	if at := d.Clock(); !d.isDue(at) {
		return again, nil
	}
	mended, nodeErr := d.ensureNode()
	pods, podErr := d.ensurePods()
	mended = append(mended, pods...)
	podErr = errors.Join(podErr, d.fitPods())
	ruleErr := d.prime(ctx)
	if ruleErr == nil {
		var repaired bool
		if repaired, ruleErr = d.filter.Check(d.table); repaired {
			mended = append(mended, "rules of "+d.Name)
		}
	}
	d.sayMended(mended)
	d.sayTrouble(ctx, errors.Join(nodeErr, podErr, ruleErr))
	return again, nil
}

// isDue says whether the node is to be looked at now: for the last time that was so long ago,
// or others have changed rules since. Nobody counts the changes of iptables' own rules.
func (d *Driver) isDue(at time.Time) bool {
	now := moment{}
	if !d.byChains {
		if m, err := d.moment(); err == nil {
			now = m
		}
		if since := at.Sub(d.lookedAt); now.onlyOwn(d.looked) && since >= 0 && since < lookEvery {
			return false
		}
	}
	d.looked, d.lookedAt = now, at
	return true
}

func (d *Driver) sayMended(mended []string) {
	if len(mended) == 0 {
		return
	}
	what := strings.Join(mended, ", ")
	d.Log.Warn("put back what others had removed or changed", "what", what)
	d.tell(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.Node}}, corev1.EventTypeWarning, "NetworkRepaired", "Put back what others had removed or changed: %s", what)
}

// sayTrouble logs an error when it is new.
func (d *Driver) sayTrouble(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	if text != "" && text != d.trouble {
		d.Log.Warn("the node's network could not be looked at or repaired, will go on trying", "error", err)
	}
	d.trouble = text
}

// ensurePods makes the links of pods again whose sandboxes still live. A sandbox that
// is gone is the runtime's matter.
func (d *Driver) ensurePods() (mended []string, err error) {
	leases := d.leases.all()
	if len(leases) == 0 {
		return nil, nil
	}
	links, err := allLinks()
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	for _, l := range links {
		if l.Attrs().Flags&unix.IFF_UP != 0 {
			index[l.Attrs().Name] = l.Attrs().Index
		}
	}
	routes, err := allRoutes()
	if err != nil {
		return nil, err
	}
	routed := map[string]int{}
	for _, r := range routes {
		if r.Dst != nil {
			routed[r.Dst.IP.String()] = r.LinkIndex
		}
	}
	var errs []error
	for text, l := range leases {
		link, has := index[d.linkName(l.Address)]
		if l.PID == 0 || has && routed[l.Address.String()] == link {
			continue
		}
		if inode, err := namespaceOf(l.PID); err != nil || inode != l.Namespace {
			continue
		}
		pod, ok := parseKey(text)
		if !ok {
			continue
		}
		if _, err := d.connect(pod, l); err != nil {
			errs = append(errs, err)
			continue
		}
		mended = append(mended, "link of pod "+text)
	}
	return mended, errors.Join(errs...)
}

func parseKey(text string) (types.NamespacedName, bool) {
	namespace, name, ok := strings.Cut(text, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}
