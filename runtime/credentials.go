package runtime

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/registry"
	corev1 "k8s.io/api/core/v1"
)

// credentials reads a dockerconfigjson or dockercfg secret: the entries for a
// repository ("host[:port]/path"), those that say the most about it first. They are
// matched as the kubelet matches them: a host's parts may be patterns, the port is the
// same, and a path is a beginning of the repository's.
func credentials(secret *corev1.Secret, repository string) ([]registry.AuthConfig, error) {
	var config struct {
		Auths map[string]registry.AuthConfig `json:"auths"`
	}
	var err error
	if raw, ok := secret.Data[corev1.DockerConfigJsonKey]; ok {
		err = json.Unmarshal(raw, &config)
	} else if raw, ok := secret.Data[corev1.DockerConfigKey]; ok {
		err = json.Unmarshal(raw, &config.Auths)
	}
	if err != nil {
		return nil, errors.New("its content is no Docker configuration") // The cause could quote it.
	}
	var servers []string
	for server := range config.Auths {
		if serves(server, repository) {
			servers = append(servers, server)
		}
	}
	slices.SortFunc(servers, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(plainServer(b)), len(plainServer(a))), cmp.Compare(a, b))
	})
	var found []registry.AuthConfig
	for _, s := range servers {
		found = append(found, decoded(config.Auths[s]))
	}
	return found, nil
}

// plainServer is a server of a Docker configuration without its scheme and without the
// path of the API, which `docker login` once wrote down.
func plainServer(server string) string {
	server = strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://")
	host, rest, _ := strings.Cut(server, "/")
	if host == "index.docker.io" {
		host = "docker.io"
	}
	rest = strings.Trim(rest, "/")
	if rest == "v1" || rest == "v2" || rest == "" {
		return host
	}
	return host + "/" + rest
}

func serves(server, repository string) bool {
	pattern, below, _ := strings.Cut(plainServer(server), "/")
	host, name, _ := strings.Cut(repository, "/")
	if below != "" && below != name && !strings.HasPrefix(name, below+"/") {
		return false
	}
	pattern, patternPort := portApart(pattern)
	host, port := portApart(host)
	parts, patterns := strings.Split(host, "."), strings.Split(pattern, ".")
	if port != patternPort || len(parts) != len(patterns) || host == "" {
		return false
	}
	for i, p := range patterns {
		if ok, err := path.Match(p, parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func portApart(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return name, port
	}
	return host, ""
}

// decoded fills user and password from the field "auth", which holds both.
func decoded(c registry.AuthConfig) registry.AuthConfig {
	if raw, err := base64.StdEncoding.DecodeString(c.Auth); err == nil && c.Username == "" {
		c.Username, c.Password, _ = strings.Cut(string(raw), ":")
	}
	c.Auth = ""
	return c
}
