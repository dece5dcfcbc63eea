package state

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// RotateKey makes a new sealing key, seals everything anew with it, and forgets the old one. It answers
// how many values it sealed. No server may run on live state meanwhile: it
// would go on with the key that it knows. Live state and the key file fit together after each single write, so
// that what was interrupted is taken up by calling RotateKey again, and can also be left as it is:
// as long as the key file holds both keys, all can be read. Servers that share an etcd need the new file.
func RotateKey(ctx context.Context, o Options) (int, error) {
	s, err := Open(ctx, o)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	return s.rotate(ctx)
}

func (s *Store) rotate(ctx context.Context) (sealed int, err error) {
	c, file := s.client, s.client.opts.KeyFile
	if s.etcd == nil {
		if err := c.unused(ctx); err != nil {
			return 0, err
		}
	}
	keys, err := readKeys(file)
	if err != nil {
		return 0, err
	}
	if len(keys) == 1 {
		keys = append([][]byte{newKey()}, keys...)
		if err := replaceKeys(file, keys...); err != nil {
			return 0, err
		}
	}
	if c.seal, err = newSealer(keys); err != nil {
		return 0, err
	}
	if sealed, err = c.sealAnew(ctx); err != nil {
		return sealed, err
	}
	mark := c.opts.Prefix + "/" + sealSegment
	if _, err := c.kv.Put(ctx, mark, fingerprint(keys[0])); err != nil {
		return sealed, fmt.Errorf("write %s: %w", mark, err)
	}
	return sealed, replaceKeys(file, keys[0])
}

// unused: no server leads, and so none runs, on an etcd that several may share.
func (c *Client) unused(ctx context.Context) error {
	resp, err := c.kv.Get(ctx, c.opts.Prefix+"/"+leadSegment+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("look for running servers: %w", err)
	}
	if resp.Count > 0 {
		return fmt.Errorf("a server runs on live state: stop it, and wait %d seconds if it did not end by itself", leadTTL)
	}
	return nil
}

// sealAnew seals with the newest key every value that is sealed with another. A value that no key opens is an
// error, before any key is forgotten.
func (c *Client) sealAnew(ctx context.Context) (sealed int, err error) {
	all := &snapshot{c: c}
	for !all.done {
		kvs, err := all.next(ctx)
		if err != nil {
			return sealed, err
		}
		for _, kv := range kvs {
			key := string(kv.Key)
			if !bytes.HasPrefix(kv.Value, []byte(sealHeader)) {
				continue
			}
			plain, err := c.seal.open(key, kv.Value)
			if err != nil {
				return sealed, err
			}
			if c.seal.current(key, kv.Value) {
				continue
			}
			resp, err := c.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).
				Then(clientv3.OpPut(key, string(c.seal.seal(key, plain)), clientv3.WithIgnoreLease())).Commit()
			if err != nil {
				return sealed, fmt.Errorf("seal %s anew: %w", key, err)
			}
			if !resp.Succeeded {
				return sealed, fmt.Errorf("seal %s anew: it was written meanwhile: stop the servers on live state, then rotate again", key)
			}
			sealed++
		}
	}
	return sealed, nil
}

// own: the key is one of an object, not a mark of live state's own.
func (c *Client) own(key string) bool {
	return !strings.HasPrefix(key, c.opts.Prefix+"/.")
}
