package sources

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on what is read out of git LFS.
const (
	// maxPointers is how many pointers of one commit are followed.
	maxPointers = 1000
	// maxLFSFile and maxLFSTotal are bytes: of one file, and of one commit's.
	maxLFSFile  = 64 << 20
	maxLFSTotal = 512 << 20
	// maxLFSAnswer is how long a server's answer may be that says where content is.
	maxLFSAnswer = 4 << 20
	// lfsBatch is how many contents are asked for at once, which is git lfs' own number.
	lfsBatch = 100
	// keepLFS is how long content is kept that no commit asked for.
	keepLFS = 30 * 24 * time.Hour
)

// lfsPointer is what git holds in the place of content: its digest and its length.
// See git lfs' docs/spec.md.
type lfsPointer struct {
	OID  string `json:"oid"`
	Size int64  `json:"size"`
}

// parsePointer reads a pointer; false: it is none.
func parsePointer(content []byte) (lfsPointer, bool) {
	rest, ok := bytes.CutPrefix(content, pointer)
	if !ok || len(content) > maxPointer {
		return lfsPointer{}, false
	}
	var p lfsPointer
	for line := range strings.Lines(string(rest)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "oid":
			p.OID = strings.TrimPrefix(value, "sha256:")
		case "size":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return lfsPointer{}, false
			}
			p.Size = n
		}
	}
	raw, err := hex.DecodeString(p.OID)
	return p, err == nil && len(raw) == sha256.Size && p.OID == strings.ToLower(p.OID)
}

// lfsStore keeps the content of pointers beside a mirror, by digest.
type lfsStore struct {
	dir string

	mu sync.Mutex
	// complete is the tree, as it is seen, all of whose content was found here last; guarded by mu
	complete string
}

func (s *lfsStore) file(p lfsPointer) string { return filepath.Join(s.dir, p.OID) }

// read is a pointer's content, checked again: a disk may have lost it.
func (s *lfsStore) read(p lfsPointer) ([]byte, error) {
	content, err := os.ReadFile(s.file(p))
	if err == nil && p.is(content) {
		return content, nil
	}
	s.noteComplete("")
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(errors.New("what is kept of it is damaged, and is fetched again"), os.Remove(s.file(p)))
}

func (s *lfsStore) isComplete(tree string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complete == tree
}

func (s *lfsStore) noteComplete(tree string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete = tree
}

func (p lfsPointer) is(content []byte) bool {
	sum := sha256.Sum256(content)
	return int64(len(content)) == p.Size && hex.EncodeToString(sum[:]) == p.OID
}

// missing are the pointers whose content is not here. What is here is marked as used.
func (s *lfsStore) missing(all map[lfsPointer]string, now time.Time) ([]lfsPointer, error) {
	var out []lfsPointer
	var total int64
	for p, name := range all {
		if p.Size > maxLFSFile {
			return nil, fmt.Errorf("%s has %d bytes, of %d allowed: hide it by spec.ignore", name, p.Size, int64(maxLFSFile))
		}
		total += p.Size
		info, err := os.Stat(s.file(p))
		switch {
		case err == nil && info.Size() == p.Size:
			if err := os.Chtimes(s.file(p), now, now); err != nil {
				return nil, err
			}
		case err == nil || errors.Is(err, os.ErrNotExist):
			out = append(out, p)
		default:
			return nil, err
		}
	}
	if total > maxLFSTotal {
		return nil, fmt.Errorf("%d bytes, of %d allowed: hide by spec.ignore what nothing renders", total, int64(maxLFSTotal))
	}
	return out, nil
}

// sweep removes what no commit asked for lately.
func (s *lfsStore) sweep(now time.Time) error {
	entries, err := os.ReadDir(s.dir)
	var errs []error
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > keepLFS {
			errs = append(errs, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}

// lfsClient speaks git LFS' batch API with a repository's server.
type lfsClient struct {
	http     *http.Client
	location Location
	creds    Credentials
}

func newLFSClient(m *Mirrors, l Location, c Credentials) (*lfsClient, error) {
	if l.Scheme != "https" && l.Scheme != "http" {
		return nil, errors.New("it is read over https only")
	}
	base, err := m.httpTransport(c)
	if err != nil {
		return nil, err
	}
	follow := func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 4:
			return errors.New("more than 4 redirects")
		case req.URL.Scheme != via[0].URL.Scheme && req.URL.Scheme != "https":
			return errors.New("a redirect away from https")
		case !l.serves(req.URL):
			req.Header.Del("Authorization")
		}
		return nil
	}
	return &lfsClient{&http.Client{Transport: cautious{base}, CheckRedirect: follow}, l, c}, nil
}

// serves says that a URL is at the repository's own scheme, host and port.
func (l Location) serves(u *url.URL) bool {
	other, err := ParseURL(u.Scheme + "://" + u.Host + "/x")
	return err == nil && other.Scheme == l.Scheme && other.Host == l.Host
}

type lfsAnswer struct {
	Objects []struct {
		lfsPointer
		Actions struct {
			Download *struct {
				Href   string            `json:"href"`
				Header map[string]string `json:"header"`
			} `json:"download"`
		} `json:"actions"`
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"objects"`
}

// fetch brings the content of all pointers, or says of which it could not.
func (c *lfsClient) fetch(ctx context.Context, all []lfsPointer, into *lfsStore) error {
	if err := os.MkdirAll(into.dir, 0o700); err != nil {
		return err
	}
	for len(all) > 0 {
		n := min(lfsBatch, len(all))
		if err := c.batch(ctx, all[:n], into); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func (c *lfsClient) batch(ctx context.Context, some []lfsPointer, into *lfsStore) error {
	body, err := json.Marshal(map[string]any{"operation": "download", "transfers": []string{"basic"}, "hash_algo": "sha256", "objects": some})
	if err != nil {
		return err
	}
	at := strings.TrimSuffix(strings.TrimSuffix(c.location.Fetch, "/"), ".git") + ".git/info/lfs/objects/batch"
	raw, err := c.do(ctx, http.MethodPost, at, nil, bytes.NewReader(body), maxLFSAnswer)
	if err != nil {
		return err
	}
	var answer lfsAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return errors.New("the server's answer cannot be read")
	}
	wanted := map[string]lfsPointer{}
	for _, p := range some {
		wanted[p.OID] = p
	}
	for _, o := range answer.Objects {
		p, asked := wanted[o.OID]
		if !asked {
			continue
		}
		if o.Error != nil {
			return fmt.Errorf("the server says of %.12s: %d %.200q", o.OID, o.Error.Code, o.Error.Message)
		}
		if o.Actions.Download == nil {
			return fmt.Errorf("the server does not say where %.12s is", o.OID)
		}
		content, err := c.do(ctx, http.MethodGet, o.Actions.Download.Href, o.Actions.Download.Header, nil, p.Size)
		if err != nil {
			return err
		}
		if !p.is(content) {
			return fmt.Errorf("the server sends something else for %.12s", o.OID)
		}
		if err := placeFile(into.dir, into.file(p), content); err != nil {
			return err
		}
		delete(wanted, o.OID)
	}
	for oid := range wanted {
		return fmt.Errorf("the server says nothing of %.12s", oid)
	}
	return nil
}

// do sends a request, with the repository's credentials where they belong, and reads at
// most limit bytes.
func (c *lfsClient) do(ctx context.Context, method, at string, header map[string]string, body io.Reader, limit int64) ([]byte, error) {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != c.location.Scheme {
		return nil, errors.New("the server names an address that is not taken")
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if c.location.serves(u) {
		switch {
		case c.creds.bearer != "":
			req.Header.Set("Authorization", "Bearer "+c.creds.bearer)
		case c.creds.username != "" || c.creds.password != "":
			req.SetBasicAuth(c.creds.username, c.creds.password)
		}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/vnd.git-lfs+json")
		req.Header.Set("Accept", "application/vnd.git-lfs+json")
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := c.http.Do(req)
	if err != nil {
		// An address may carry a token.
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", u.Host, res.StatusCode)
	}
	return io.ReadAll(&limited{res.Body, limit})
}
