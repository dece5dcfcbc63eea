package sources

import (
	"context"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"slipway.dev/slipway/api"
)

// Tag makes an annotated tag, signed if there is a key, and then looks at the
// repository. A tag that names the commit already is left as it is; one that names
// another is an error: tags are not moved.
func (s *Sources) Tag(ctx context.Context, req api.TagRequest) error {
	p, err := s.find(ctx, req.Repository)
	if err != nil {
		return err
	}
	_, err = p.at(ctx, "", req.Commit)
	if vouch := s.voucher(p); err == nil && vouch != nil {
		err = vouch(plumbing.NewHash(req.Commit))
	}
	if err == nil {
		err = p.mirror.tag(ctx, p.location, p.creds, s.Now(), req)
	}
	if err != nil {
		return fmt.Errorf("gitrepository %s: %w", req.Repository, err)
	}
	s.Refresh(req.Repository)
	return nil
}

func (r *Mirror) tag(ctx context.Context, l Location, c Credentials, now time.Time, req api.TagRequest) error {
	ref := "refs/tags/" + req.Name
	if err := CheckRefName(ref); err != nil {
		return err
	}
	sign, err := c.signer(r.owner.opts.SigningKey)
	if err != nil {
		return err
	}
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.release()
	session, adv, err := r.receivePack(ctx, l, c)
	if err != nil {
		return err
	}
	defer session.Close()
	if at, exists := adv.References[ref]; exists {
		return r.tagged(ctx, l, c, req, at)
	}
	who := req.Tagger
	if who.Name == "" {
		who = r.owner.opts.Committer
	}
	t := object.Tag{Name: req.Name, Tagger: signature(who, now.UTC().Truncate(time.Second)), Message: message(req.Message, req.Trailers), TargetType: plumbing.CommitObject, Target: plumbing.NewHash(req.Commit)}
	if t.PGPSignature, err = sign.sign(t.EncodeWithoutSignature); err != nil {
		return err
	}
	made := memory.NewStorage()
	obj := &plumbing.MemoryObject{}
	if err := t.Encode(obj); err != nil {
		return err
	}
	h, err := made.SetEncodedObject(obj)
	if err != nil {
		return err
	}
	if err := push(ctx, session, adv, ref, plumbing.ZeroHash, h, made); err != nil {
		// Another writer, or this push whose answer was lost, may have made it.
		if r.fetch(ctx, l, c, nil) == nil {
			if at, exists := r.current().names[ref]; exists {
				return r.tagged(ctx, l, c, req, at)
			}
		}
		return fmt.Errorf("%w: tag %q of %s: %w", ErrPush, req.Name, l, err)
	}
	return nil
}

// tagged says whether the tag that is at the repository is the one asked for.
func (r *Mirror) tagged(ctx context.Context, l Location, c Credentials, req api.TagRequest, at plumbing.Hash) error {
	if !r.objects.has(at) {
		if err := r.fetch(ctx, l, c, nil); err != nil {
			return err
		}
	}
	h, err := r.objects.peel(at)
	if err != nil {
		return err
	}
	if h.String() != req.Commit {
		return fmt.Errorf("%w: tag %q of %s names %s already, and is not moved", ErrPush, req.Name, l, h)
	}
	return nil
}
