package api

import (
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	scpURL     = regexp.MustCompile(`^(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^/\\].*$|^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:/.*$`)
	schemeURL  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)$`)
	commitHash = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
)

// gitURL allows http, https, ssh, git and file URLs and `user@host:path`; which of them
// are fetched from is the server's choice. No credentials: they belong in a Secret, where
// nothing shows them.
func gitURL(p *field.Path, value string) field.ErrorList {
	refuse := func(why string) field.ErrorList { return field.ErrorList{field.Invalid(p, redactURL(value), why)} }
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd }) || len(value) > 2048 {
		return refuse("must be shorter than 2048 bytes, without white space, control characters and backslashes")
	}
	m := schemeURL.FindStringSubmatch(value)
	if m == nil {
		if strings.Contains(value, "::") || !scpURL.MatchString(value) {
			return refuse("must be a http, https, ssh, git or file URL, or user@host:path")
		}
		return nil
	}
	scheme, authority, path := strings.ToLower(m[1]), m[2], m[3]
	if strings.ContainsAny(path, "?#") {
		return refuse("must not have a query or a fragment")
	}
	user, host, hasUser := strings.Cut(authority, "@")
	if !hasUser {
		user, host = "", authority
	}
	switch scheme {
	case "http", "https", "git":
		if hasUser {
			return refuse("must not hold credentials: name a Secret")
		}
	case "ssh":
		if strings.Contains(user, ":") {
			return refuse("must not hold a password: name a Secret")
		}
	case "file":
		if authority != "" {
			return refuse("a file URL names no host")
		}
		if path == "" || path == "/" {
			return refuse("names no repository")
		}
		return nil
	default:
		return refuse("scheme " + scheme + " is not allowed: use http, https, ssh, git or file")
	}
	if host == "" || strings.HasPrefix(host, "-") || strings.HasPrefix(user, "-") {
		return refuse("names no valid host")
	}
	return nil
}

// redactURL hides a user's name and password.
func redactURL(value string) string {
	m := schemeURL.FindStringSubmatch(value)
	if m == nil || !strings.Contains(m[2], "@") {
		return value
	}
	return m[1] + "://***@" + m[2][strings.LastIndex(m[2], "@")+1:] + m[3]
}

// gitRef follows git's rules for the names of branches and tags; an empty one is none.
func gitRef(p *field.Path, value string) field.ErrorList {
	if value == "" {
		return nil
	}
	bad := strings.HasPrefix(value, "-") || strings.HasPrefix(value, "/") || strings.HasSuffix(value, "/") || strings.HasSuffix(value, ".") ||
		strings.Contains(value, "..") || strings.Contains(value, "//") || strings.Contains(value, "@{") || value == "@" || len(value) > 255 ||
		strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
	for part := range strings.SplitSeq(value, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return field.ErrorList{field.Invalid(p, value, "is not a name that git allows for a branch or tag")}
	}
	return nil
}

func gitCommit(p *field.Path, value string) field.ErrorList {
	if value == "" || commitHash.MatchString(value) {
		return nil
	}
	return field.ErrorList{field.Invalid(p, value, "must be a whole commit hash, 40 or 64 hexadecimal digits")}
}
