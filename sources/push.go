package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"
)

// receivePack opens a session for a push and says where every reference is now.
func (r *Mirror) receivePack(ctx context.Context, l Location, c Credentials) (transport.ReceivePackSession, *packp.AdvRefs, error) {
	client, ep, auth, err := r.owner.prepare(ctx, l, c)
	if err != nil {
		return nil, nil, err
	}
	session, err := within(ctx, func() (transport.ReceivePackSession, error) { return client.NewReceivePackSession(ep, auth) })
	if err != nil {
		return nil, nil, err
	}
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		adv, err = packp.NewAdvRefs(), nil
	}
	if err != nil {
		session.Close()
		return nil, nil, ctxError(ctx, err)
	}
	return session, adv, nil
}

// push moves branch from old to new, and only from old: another value is never
// overwritten.
func push(ctx context.Context, session transport.ReceivePackSession, adv *packp.AdvRefs, branch string, old, new plumbing.Hash, made *memory.Storage) error {
	var hashes []plumbing.Hash
	for h := range made.Objects {
		hashes = append(hashes, h)
	}
	var pack bytes.Buffer
	if _, err := packfile.NewEncoder(&pack, made, false).Encode(hashes, 0); err != nil {
		return fmt.Errorf("packing the commit: %w", err)
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(adv.Capabilities)
	if adv.Capabilities.Supports(capability.Sideband64k) {
		if err := req.Capabilities.Set(capability.Sideband64k); err != nil {
			return err
		}
	}
	said := &bytes.Buffer{}
	req.Progress = said
	req.Commands = []*packp.Command{{Name: plumbing.ReferenceName(branch), Old: old, New: new}}
	req.Packfile = io.NopCloser(&pack)
	report, err := session.ReceivePack(ctx, req)
	if err == nil && report != nil {
		err = report.Error()
	}
	if err == nil {
		return nil
	}
	if words := strings.Join(strings.Fields(said.String()), " "); words != "" {
		return fmt.Errorf("%w (the server says: %.300s)", ctxError(ctx, err), words)
	}
	return ctxError(ctx, err)
}
