package remote

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/state/nodecert"
)

// askTime bounds one request for a certificate.
const askTime = 15 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Refused is a server's no: asking another one, or again, does not help.
type Refused struct {
	Server string
	Why    string
}

func (e *Refused) Error() string { return e.Server + ": " + e.Why }

// Join gets this host an identity in dir: a certificate for a name, by a token. Of the
// servers only those are believed whose authority the token names. A folder that holds an
// identity of the same name shows it, and gets a fresh one.
func Join(ctx context.Context, dir string, s Settings, token string) (*Identity, error) {
	t, err := nodecert.ParseToken(token)
	if err != nil {
		return nil, fmt.Errorf("--token: %w", err)
	}
	if len(s.Servers) == 0 {
		return nil, errors.New("--server: where is the server's node API?")
	}
	for _, server := range s.Servers {
		if err := checkServer(server); err != nil {
			return nil, err
		}
	}
	var own *tls.Certificate
	switch old, err := Load(dir); {
	case err == nil && old.Settings().Name != s.Name:
		return nil, fmt.Errorf("%s is the data directory of node %s, not of %s", dir, old.Settings().Name, s.Name)
	case err == nil:
		own = old.certificate()
	case !errors.Is(err, ErrNotJoined):
		return nil, err
	}
	key, err := nextKey(dir)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: newTransport(nodecert.Pinned(t.Authority, own)), Timeout: askTime}
	defer client.CloseIdleConnections()
	answer, err := ask(ctx, client, s, key, token)
	if err != nil {
		return nil, err
	}
	authority, err := nodecert.ParseCertificate([]byte(answer.Authority))
	if err != nil || nodecert.HashKey(authority.RawSubjectPublicKeyInfo) != t.Authority {
		return nil, errors.New("the server's authority is not the one that the token names")
	}
	i := &Identity{dir: dir, authority: authority, settings: s}
	if err := writeFile(filepath.Join(dir, fileAuthority), []byte(answer.Authority)); err != nil {
		return nil, err
	}
	return i, i.accept(key, answer)
}

// ask asks one server after the other.
func ask(ctx context.Context, c *http.Client, s Settings, key *ecdsa.PrivateKey, token string) (*nodecert.Answer, error) {
	request, err := nodecert.NewRequest(key)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(nodecert.Ask{Token: token, Request: string(request), Address: s.Address, Architecture: runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, server := range s.all() {
		answer, err := askOne(ctx, c, server, s.Name, body)
		var no *Refused
		if err == nil || errors.As(err, &no) || ctx.Err() != nil {
			return answer, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func askOne(ctx context.Context, c *http.Client, server, name string, body []byte) (*nodecert.Answer, error) {
	to := strings.TrimSuffix(server, "/") + fmt.Sprintf(nodecert.Path, url.PathEscape(name))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode >= 500:
		return nil, fmt.Errorf("%s: %s", server, resp.Status)
	case resp.StatusCode != http.StatusOK:
		why := metav1.Status{Message: resp.Status}
		_ = json.Unmarshal(data, &why) // where it is no Status, the code is all there is to say
		return nil, &Refused{server, why.Message}
	}
	var answer nodecert.Answer
	return &answer, json.Unmarshal(data, &answer)
}
