package gitserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// PostReceiveOptions says for which repository webhooks are called, and which.
type PostReceiveOptions struct {
	// Dir is the bare repository.
	Dir string
	// Hooks to call; default: those that the repository keeps.
	Hooks []Hook
	// CloneURL names the repository; default: the one it was made with.
	CloneURL string
	// Out gets a line per call, which git shows to whoever pushed; default nowhere.
	Out io.Writer
	// Client makes the calls; default has a timeout of 10 s.
	Client *http.Client
}

// Update is one line of what git tells a post-receive hook.
type Update struct {
	Old, New plumbing.Hash
	Ref      string
}

// PostReceive reads `old new ref` lines and calls every webhook for each of them, as
// GitHub calls them for a push. Every call is tried; the errors come together. Git
// does not undo a push whose hook fails.
func PostReceive(ctx context.Context, stdin io.Reader, opts PostReceiveOptions) error {
	updates, err := readUpdates(stdin)
	if err != nil {
		return err
	}
	if opts.Out == nil {
		opts.Out = io.Discard
	}
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: 10 * time.Second}
	}
	repo, err := gogit.PlainOpen(opts.Dir)
	if err != nil {
		return fmt.Errorf("repository %s: %w", opts.Dir, err)
	}
	if opts.CloneURL == "" {
		config, err := repo.Config()
		if err != nil {
			return fmt.Errorf("repository %s: %w", opts.Dir, err)
		}
		opts.CloneURL = config.Raw.Section("slipway").Option("cloneurl")
	}
	if opts.Hooks == nil {
		if opts.Hooks, err = readHooks(opts.Dir); err != nil {
			return err
		}
	}
	var errs []error
	for _, u := range updates {
		body, err := json.Marshal(payload(repo, opts, u))
		if err != nil {
			return err
		}
		for _, h := range opts.Hooks {
			if err := call(ctx, opts, h, body); err != nil {
				fmt.Fprintf(opts.Out, "webhook %s: %v\n", shown(h.URL), err)
				errs = append(errs, fmt.Errorf("webhook %s: %w", shown(h.URL), err))
			}
		}
	}
	return errors.Join(errs...)
}

func readUpdates(stdin io.Reader) ([]Update, error) {
	var updates []Update
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), " ", 3)
		if len(parts) != 3 || !plumbing.IsHash(parts[0]) || !plumbing.IsHash(parts[1]) || !strings.HasPrefix(parts[2], "refs/") {
			return nil, fmt.Errorf("%.200q is not `old new ref`", lines.Text())
		}
		updates = append(updates, Update{plumbing.NewHash(parts[0]), plumbing.NewHash(parts[1]), parts[2]})
	}
	return updates, lines.Err()
}

func call(ctx context.Context, opts PostReceiveOptions, h Hook, body []byte) error {
	secret := []byte(h.Secret)
	if h.SecretFile != "" {
		read, err := os.ReadFile(h.SecretFile)
		if err != nil {
			return err
		}
		secret = bytes.TrimSpace(read)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "slipway-post-receive")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", deliveryID())
	if len(secret) > 0 {
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	res, err := opts.Client.Do(req)
	if err != nil {
		var cause interface{ Unwrap() error }
		if errors.As(err, &cause) && cause.Unwrap() != nil {
			err = cause.Unwrap() // the outer error repeats the URL, which may hold a secret
		}
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 512))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(answer)))
	}
	fmt.Fprintf(opts.Out, "webhook %s: %s\n", shown(h.URL), res.Status)
	return nil
}

// shown is a hook's URL without what may be secret in its path: a build's webhook has
// its secret before the last part.
func shown(url string) string {
	if i := strings.Index(url, "/webhooks/"); i >= 0 {
		return url[:i] + "/webhooks/…/" + filepath.Base(url)
	}
	return url
}

func deliveryID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
