package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// ErrURL says that a repository's URL is one that Slipway does not fetch from.
var ErrURL = errors.New("repository URL refused")

// Location is where a repository is, in the one spelling that all spellings of the
// same place share.
type Location struct {
	// Scheme is http, https, ssh, git or file.
	Scheme string
	// User of an ssh URL.
	User string
	// Host with its port, unless that is the scheme's own; lower case.
	Host string
	// Path without the trailing slash and `.git`.
	Path string
	// Fetch is the URL as it is asked for.
	Fetch string
}

// String is the canonical spelling; two locations are the same repository if theirs are.
func (l Location) String() string {
	user := ""
	if l.User != "" {
		user = l.User + "@"
	}
	return l.Scheme + "://" + user + l.Host + l.Path
}

// hostPort are the host's name or address and its port.
func (l Location) hostPort() (host, port string) {
	if host, port, err := net.SplitHostPort(l.Host); err == nil {
		return host, port
	}
	return strings.Trim(l.Host, "[]"), defaultPorts[l.Scheme]
}

var scpLike = regexp.MustCompile(`^(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^/\\:].*|/[^/].*)$`)

var defaultPorts = map[string]string{"http": "80", "https": "443", "ssh": "22", "git": "9418"}

// ParseURL reads http, https, ssh, git and file URLs and `user@host:path`. Credentials in
// an http URL are refused: they belong in a Secret, where nothing shows them.
func ParseURL(raw string) (Location, error) {
	refuse := func(why string) (Location, error) { return Location{}, fmt.Errorf("%w: %s", ErrURL, why) }
	if raw == "" {
		return refuse("it is empty")
	}
	if len(raw) > 2048 {
		return refuse("it is longer than 2048 bytes")
	}
	for _, r := range raw {
		if r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd {
			return refuse("it holds a space, a control character or a backslash")
		}
	}
	if !strings.Contains(raw, "://") {
		m := scpLike.FindStringSubmatch(raw)
		if m == nil {
			return refuse("it is neither a URL nor user@host:path")
		}
		raw = "ssh://" + m[2] + "/" + strings.TrimPrefix(m[3], "/")
		if m[1] != "" {
			raw = "ssh://" + m[1] + "@" + strings.TrimPrefix(raw, "ssh://")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("it cannot be parsed") // the error would repeat a password
	}
	return locate(u, refuse)
}

func locate(u *url.URL, refuse func(string) (Location, error)) (Location, error) {
	l := Location{Scheme: strings.ToLower(u.Scheme)}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return refuse("it has a query or a fragment")
	}
	switch l.Scheme {
	case "http", "https", "git":
		if u.User != nil {
			return refuse("it holds credentials; put them in a Secret and name it in secretRef")
		}
	case "ssh":
		if u.User != nil {
			if _, has := u.User.Password(); has {
				return refuse("it holds a password; put an identity in a Secret and name it in secretRef")
			}
			l.User = u.User.Username()
		}
	case "file":
		if u.Host != "" {
			return refuse("a file URL has no host")
		}
	default:
		return refuse(fmt.Sprintf("scheme %q is not one of http, https, ssh, git, file", l.Scheme))
	}
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if l.Scheme != "file" && !validHost(host, port) || strings.HasPrefix(l.User, "-") {
		return refuse("it has no usable host")
	}
	if port == defaultPorts[l.Scheme] {
		port = ""
	}
	switch {
	case port != "":
		l.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		l.Host = "[" + host + "]"
	default:
		l.Host = host
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == ".." {
			return refuse("its path holds `..`")
		}
	}
	l.Path = strings.TrimSuffix(path.Clean("/"+u.Path), ".git")
	if l.Path == "/" || strings.HasPrefix(l.Path, "/-") {
		return refuse("it has no usable path")
	}
	fetch := url.URL{Scheme: l.Scheme, Host: l.Host, Path: strings.TrimSuffix(u.Path, "/")}
	if l.User != "" {
		fetch.User = url.User(l.User)
	}
	l.Fetch = fetch.String()
	return l, nil
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,252})$`)

func validHost(host, port string) bool {
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	if strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return hostName.MatchString(host) || err == nil && addr.Zone() == ""
}

// folder is where a location's mirror lives. scope is the project whose credentials
// fetch it, empty if it needs none.
func (l Location) folder(scope string) string {
	sum := sha256.Sum256([]byte(l.String() + "\x00" + scope))
	return hex.EncodeToString(sum[:16])
}

// SameRepository says whether two URLs name the same repository, whatever their
// spelling: the case of the host, a `.git` at the end, the default port.
func SameRepository(a, b string) bool {
	la, errA := ParseURL(a)
	lb, errB := ParseURL(b)
	return errA == nil && errB == nil && la.Host == lb.Host && la.Path == lb.Path
}
