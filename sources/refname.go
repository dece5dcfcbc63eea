package sources

import (
	"fmt"
	"strings"
)

// CheckRefName tells what is wrong with a full reference name such as
// refs/heads/main. The rules are those of git-check-ref-format(1); beyond them it
// refuses parts that begin with a dash, which programs would take for an option, and
// names longer than 1024 bytes.
func CheckRefName(name string) error {
	bad := func(why string) error {
		if len(name) > 80 {
			return fmt.Errorf("reference name %.80q…: %s", name, why)
		}
		return fmt.Errorf("reference name %q: %s", name, why)
	}
	switch {
	case !strings.HasPrefix(name, "refs/"):
		return bad("does not begin with refs/")
	case len(name) > 1024:
		return bad("is longer than 1024 bytes")
	case strings.HasSuffix(name, "."):
		return bad("ends with a dot")
	case strings.Contains(name, ".."):
		return bad("holds `..`")
	case strings.Contains(name, "@{"):
		return bad("holds `@{`")
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return bad("holds a character that git does not allow")
		}
	}
	parts := strings.Split(name, "/")
	if len(parts) < 3 {
		return bad("has no name after its kind")
	}
	for _, part := range parts {
		switch {
		case part == "":
			return bad("has an empty part")
		case strings.HasPrefix(part, "."), strings.HasPrefix(part, "-"):
			return bad("has a part that begins with a dot or a dash")
		case strings.HasSuffix(part, ".lock"):
			return bad("has a part that ends with .lock")
		}
	}
	return nil
}

// isHash says whether s is a full, lower-case SHA-1.
func isHash(s string) bool {
	if len(s) != 40 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
