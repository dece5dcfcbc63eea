package api

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Link makes a service answer at a pod's own loopback address.
type Link struct {
	// Project of the service; empty: the pod's own.
	Project string
	Service string
	// Port of the service, a number or a name; empty: all its ports.
	Port string
	// Local is the port at the loopback address; 0: the service's own.
	Local int32
}

// String is the link as it is written.
func (l Link) String() string {
	out := l.Service
	if l.Project != "" {
		out += "." + l.Project
	}
	if l.Port != "" {
		out += ":" + l.Port
	}
	if l.Local != 0 {
		out = fmt.Sprintf("%d=%s", l.Local, out)
	}
	return out
}

// ParseLinks reads the annotation slipway.dev/links: links separated by commas, each
// [LOCALPORT=]SERVICE[.PROJECT][:PORT], such as db, db.shared:5432 or 3306=db:mysql.
func ParseLinks(text string) ([]Link, error) {
	var out []Link
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" && strings.TrimSpace(text) == "" {
			return nil, nil
		}
		l, err := parseLink(word)
		if err != nil {
			return nil, fmt.Errorf("link %q: %w", word, err)
		}
		out = append(out, l)
	}
	return out, nil
}

func parseLink(word string) (Link, error) {
	var l Link
	local, rest, has := strings.Cut(word, "=")
	if has {
		n, err := strconv.ParseUint(local, 10, 16)
		if err != nil || n == 0 {
			return l, fmt.Errorf("%q is no port", local)
		}
		l.Local = int32(n)
	} else {
		rest = word
	}
	name, port, has := strings.Cut(rest, ":")
	if has {
		l.Port = port
		n, err := strconv.ParseUint(port, 10, 16)
		if isNumber := err == nil && n > 0; !isNumber && len(validation.IsDNS1123Label(port)) > 0 {
			return l, fmt.Errorf("%q is neither a port nor the name of one", port)
		}
	}
	if l.Local != 0 && l.Port == "" {
		return l, fmt.Errorf("a local port needs the port of the service, as in %d=%s:80", l.Local, name)
	}
	l.Service, l.Project, has = strings.Cut(name, ".")
	if len(validation.IsDNS1035Label(l.Service)) > 0 || has && len(validation.IsDNS1123Label(l.Project)) > 0 {
		return l, fmt.Errorf("%q is no SERVICE or SERVICE.PROJECT", name)
	}
	return l, nil
}

func validateLinks(annotations map[string]string, s *corev1.PodSpec, p *field.Path) field.ErrorList {
	text, has := annotations[LinksAnnotation]
	if !has {
		return nil
	}
	if s.HostNetwork {
		return field.ErrorList{field.Forbidden(p.Child("annotations").Key(LinksAnnotation), "a pod in the network of its node has no loopback address of its own")}
	}
	if _, err := ParseLinks(text); err != nil {
		return field.ErrorList{field.Invalid(p.Child("annotations").Key(LinksAnnotation), text, err.Error())}
	}
	return nil
}
