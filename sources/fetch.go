package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// ErrEmpty says that a repository has no commit. What was fetched before it was
// emptied is still there.
var ErrEmpty = errors.New("the repository has no commit")

// maxHaves bounds how many tips a fetch tells the server that it has.
const maxHaves = 256

// Fetch looks at the repository now and brings in every branch and tag, and beside them
// what also names: references by full name, commits by hash. On an error the mirror
// is as it was.
//
// Callers that come while a look is under way wait for the next one, and share it.
func (r *Mirror) Fetch(ctx context.Context, l Location, c Credentials, also ...string) error {
	asked := time.Now()
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.release()
	if len(also) == 0 {
		r.mu.Lock()
		shared, err := r.lastStart.After(asked), r.lastErr
		r.mu.Unlock()
		if shared {
			return err
		}
	}
	start := time.Now()
	err := r.fetch(ctx, l, c, also)
	if ctx.Err() == nil || err == nil {
		r.mu.Lock()
		r.lastStart, r.lastErr = start, err
		r.mu.Unlock()
	}
	return err
}

func (r *Mirror) fetch(ctx context.Context, l Location, c Credentials, also []string) error {
	session, err := uploadPack(ctx, r.owner, l, c)
	if err != nil {
		return err
	}
	defer session.Close()
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return ErrEmpty
	}
	if err != nil {
		return ctxError(ctx, err)
	}
	seen := r.mirrored(adv, also)
	wants := r.wants(seen, also)
	if len(wants) > 0 {
		if err := r.bring(ctx, session, adv, wants); err != nil {
			return ctxError(ctx, err)
		}
	}
	if err := r.set(seen); err != nil || !r.objects.crowded() {
		return err
	}
	return r.objects.consolidate()
}

// uploadPack opens a session. Some transports connect without looking at ctx, so it
// is not waited for longer than ctx lasts.
func uploadPack(ctx context.Context, m *Mirrors, l Location, c Credentials) (transport.UploadPackSession, error) {
	client, ep, auth, err := m.prepare(ctx, l, c)
	if err != nil {
		return nil, err
	}
	return within(ctx, func() (transport.UploadPackSession, error) { return client.NewUploadPackSession(ep, auth) })
}

// within runs open, and gives up on it when ctx ends; a session that comes too late
// is closed.
func within[S io.Closer](ctx context.Context, open func() (S, error)) (S, error) {
	type opened struct {
		session S
		err     error
	}
	done := make(chan opened, 1)
	go func() {
		s, err := open()
		done <- opened{s, err}
	}()
	select {
	case o := <-done:
		return o.session, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				o.session.Close()
			}
		}()
		var none S
		return none, fmt.Errorf("connecting: %w", ctx.Err())
	}
}

// ctxError says that time ran out where that is why err happened.
func ctxError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// mirrored keeps what is mirrored of what the server advertises: branches, tags, and
// the references asked for. Names that git would refuse are left out: one hostile
// name must not hide the others.
func (r *Mirror) mirrored(adv *packp.AdvRefs, also []string) refs {
	r.mu.Lock()
	for _, name := range also {
		if strings.HasPrefix(name, "refs/") {
			r.extra[name] = true
		}
	}
	seen := refs{names: map[string]plumbing.Hash{}, peeled: map[string]plumbing.Hash{}}
	for name, h := range adv.References {
		kept := strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") || r.extra[name]
		if kept && CheckRefName(name) == nil && !h.IsZero() {
			seen.names[name] = h
		}
	}
	r.mu.Unlock()
	for name, h := range adv.Peeled {
		if _, ok := seen.names[name]; ok {
			seen.peeled[name] = h
		}
	}
	seen.head = advertisedHead(adv, seen.names)
	return seen
}

// advertisedHead is the branch that HEAD names. A server too old to say so is taken
// to mean main, master, or the first branch at HEAD's commit.
func advertisedHead(adv *packp.AdvRefs, names map[string]plumbing.Hash) string {
	for _, ref := range adv.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(ref, "HEAD:"); ok {
			if _, exists := names[target]; exists {
				return target
			}
		}
	}
	if adv.Head == nil {
		return ""
	}
	var candidates []string
	for name, h := range names {
		if h == *adv.Head && strings.HasPrefix(name, "refs/heads/") {
			candidates = append(candidates, name)
		}
	}
	for _, usual := range []string{"refs/heads/main", "refs/heads/master"} {
		if slices.Contains(candidates, usual) {
			return usual
		}
	}
	if len(candidates) == 0 {
		return ""
	}
	return slices.Min(candidates)
}

// wants are the tips that are not known to be here with all that they reach: an object
// that merely exists may be what a crash left of a fetch.
func (r *Mirror) wants(seen refs, also []string) []plumbing.Hash {
	have := r.current().tips()
	missing := map[plumbing.Hash]bool{}
	for h := range seen.tips() {
		if !have[h] {
			missing[h] = true
		}
	}
	for _, a := range also {
		if isHash(a) && !r.Has(a) {
			missing[plumbing.NewHash(a)] = true
		}
	}
	wants := make([]plumbing.Hash, 0, len(missing))
	for h := range missing {
		wants = append(wants, h)
	}
	return wants
}

// bring fetches objects and checks that the server sent what was asked for.
func (r *Mirror) bring(ctx context.Context, session transport.UploadPackSession, adv *packp.AdvRefs, wants []plumbing.Hash) error {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	req.Wants = wants
	if adv.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	req.Haves = r.haves()
	if err := r.cut(req, adv); err != nil {
		return err
	}
	res, err := session.UploadPack(ctx, req)
	if errors.Is(err, transport.ErrEmptyUploadPackRequest) {
		return r.complete(wants)
	}
	if err != nil {
		return err
	}
	defer res.Close()
	var pack io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, res)
	}
	if err := r.objects.receive(pack, r.owner.opts.MaxPackBytes); err != nil {
		return err
	}
	if err := r.ends(res.ShallowUpdate); err != nil {
		return err
	}
	return r.complete(wants)
}

func (r *Mirror) complete(wants []plumbing.Hash) error {
	for _, h := range wants {
		if !r.objects.has(h) {
			return fmt.Errorf("the server did not send object %s, which it was asked for", h)
		}
	}
	return nil
}

// haves are tips whose history is here as a whole: the branches first, because that
// is where new commits grow.
func (r *Mirror) haves() []plumbing.Hash {
	known := r.current()
	var haves []plumbing.Hash
	added := map[plumbing.Hash]bool{}
	add := func(prefix string) {
		for name, h := range known.names {
			if len(haves) < maxHaves && strings.HasPrefix(name, prefix) && !added[h] {
				added[h] = true
				haves = append(haves, h)
			}
		}
	}
	if h, ok := known.names[known.head]; ok {
		added[h] = true
		haves = append(haves, h)
	}
	add("refs/heads/")
	add("refs/tags/")
	return haves
}
