package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// call is a genuine call of a repository's hook.
type call struct {
	// host is who calls: github, gitea, gogs, gitlab, bitbucket or generic.
	host  string
	event string
	// ping is a call that only tries the address.
	ping bool
	// delivery identifies the call among those of its host; empty: it has no id.
	delivery string
}

var errNotGenuine = errors.New("the signature or token is missing or wrong")

// verify finds out who calls, proves the body genuine with the repository's secret,
// and says what the call is about. The headers that say so are not signed, but none
// of them can do more than make Slipway look.
func verify(header http.Header, body, secret []byte) (call, error) {
	k := call{}
	genuine := false
	switch {
	case header.Get("X-Gitea-Event") != "":
		k.host, k.event, k.delivery = "gitea", header.Get("X-Gitea-Event"), header.Get("X-Gitea-Delivery")
		genuine = signed(header.Get("X-Gitea-Signature"), body, secret)
	case header.Get("X-GitHub-Event") != "":
		k.host, k.event, k.delivery = "github", header.Get("X-GitHub-Event"), header.Get("X-GitHub-Delivery")
		genuine = prefixed(header.Get("X-Hub-Signature-256"), body, secret)
	case header.Get("X-Gogs-Event") != "":
		k.host, k.event, k.delivery = "gogs", header.Get("X-Gogs-Event"), header.Get("X-Gogs-Delivery")
		genuine = signed(header.Get("X-Gogs-Signature"), body, secret)
	case header.Get("X-Gitlab-Event") != "":
		k.host, k.event, k.delivery = "gitlab", header.Get("X-Gitlab-Event"), header.Get("X-Gitlab-Event-UUID")
		genuine = same([]byte(header.Get("X-Gitlab-Token")), secret)
	case header.Get("X-Event-Key") != "":
		k.host, k.event = "bitbucket", header.Get("X-Event-Key")
		if k.delivery = header.Get("X-Request-UUID"); k.delivery == "" {
			k.delivery = header.Get("X-Request-Id")
		}
		genuine = prefixed(header.Get("X-Hub-Signature"), body, secret)
	default:
		k.host, k.event, k.delivery = "generic", "push", header.Get("X-Delivery-Id")
		bearer, isBearer := strings.CutPrefix(header.Get("Authorization"), "Bearer ")
		genuine = prefixed(header.Get("X-Signature"), body, secret) || isBearer && same([]byte(bearer), secret)
	}
	if !genuine || len(secret) == 0 {
		return call{}, errNotGenuine
	}
	if len(k.delivery) > 200 {
		return call{}, errors.New("the delivery id is too long")
	}
	switch k.event {
	case "ping", "diagnostics:ping":
		k.ping = true
	case "push", "Push Hook", "Tag Push Hook", "repo:push", "repo:refs_changed":
	default:
		return call{}, fmt.Errorf("event %.40q is not about a push", k.event)
	}
	return k, nil
}

// prefixed checks `sha256=<hex>`.
func prefixed(signature string, body, secret []byte) bool {
	hexed, ok := strings.CutPrefix(signature, "sha256=")
	return ok && signed(hexed, body, secret)
}

// signed checks a signature in hex: HMAC-SHA-256 over the body as it came.
func signed(hexed string, body, secret []byte) bool {
	got, err := hex.DecodeString(hexed)
	if err != nil || len(got) != sha256.Size {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}

// same compares in a time that depends on neither value nor on their lengths.
func same(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
