package runtime

import (
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api/constraints"
)

func TestSecurityContext(t *testing.T) {
	t.Parallel()
	yes, uid, gid := true, int64(1000), int64(2000)
	for name, c := range map[string]struct {
		pod       corev1.PodSpec
		container corev1.SecurityContext
		imageUser string
		user      string
		caps      []string
		refused   bool
		// open: it may gain privileges.
		open bool
	}{
		"the default":             {caps: constraints.Capabilities()},
		"privileged":              {container: corev1.SecurityContext{Privileged: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}, open: true},
		"gains privileges":        {container: corev1.SecurityContext{AllowPrivilegeEscalation: &yes}, caps: constraints.Capabilities(), open: true},
		"a user":                  {container: corev1.SecurityContext{RunAsUser: &uid}, user: "1000", caps: constraints.Capabilities()},
		"a user and a group":      {container: corev1.SecurityContext{RunAsUser: &uid, RunAsGroup: &gid}, user: "1000:2000", caps: constraints.Capabilities()},
		"a group":                 {container: corev1.SecurityContext{RunAsGroup: &gid}, imageUser: "7:7", user: "7:2000", caps: constraints.Capabilities()},
		"the pod's user":          {pod: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsUser: &uid}}, user: "1000", caps: constraints.Capabilities()},
		"not root, but it is":     {container: corev1.SecurityContext{RunAsNonRoot: &yes}, refused: true},
		"not root, nobody knows":  {container: corev1.SecurityContext{RunAsNonRoot: &yes}, imageUser: "web", refused: true},
		"not root, and it is not": {container: corev1.SecurityContext{RunAsNonRoot: &yes}, imageUser: "1001:0", caps: constraints.Capabilities()},
		"drop all":                {container: corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}},
		"drop all, add one": {
			container: corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}}},
			caps:      []string{"NET_BIND_SERVICE"},
		},
		"add one that is not given": {
			container: corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}}, caps: append(constraints.Capabilities(), "SYS_ADMIN"),
		},
	} {
		config, host := &container.Config{}, &container.HostConfig{SecurityOpt: []string{"no-new-privileges"}}
		err := secure(config, host, &corev1.Pod{Spec: c.pod}, &corev1.Container{Name: "main", SecurityContext: &c.container}, c.imageUser)
		switch {
		case (err != nil) != c.refused:
			t.Errorf("%s: %v", name, err)
		case c.refused:
		case (len(host.SecurityOpt) == 0) != c.open:
			t.Errorf("%s: options %q", name, host.SecurityOpt)
		case host.Privileged:
			if len(host.CapAdd)+len(host.CapDrop) > 0 || c.container.Privileged == nil {
				t.Errorf("%s: it is privileged, with %v, without %v", name, host.CapAdd, host.CapDrop)
			}
		case config.User != c.user || !slices.Equal(host.CapAdd, c.caps) || !slices.Equal(host.CapDrop, []string{"ALL"}):
			t.Errorf("%s: user %q, capabilities %v", name, config.User, host.CapAdd)
		}
	}
}
