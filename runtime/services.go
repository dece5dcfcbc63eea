package runtime

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// serviceVariables are the variables that tell a pod about the services of its
// project, as Kubernetes and Docker links name them; services without an address of
// their own have none.
func serviceVariables(services []corev1.Service) map[string]string {
	env := map[string]string{}
	for _, s := range services {
		ip := s.Spec.ClusterIP
		if ip == "" || ip == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
			continue
		}
		prefix := variable(s.Name)
		first := s.Spec.Ports[0]
		env[prefix+"_SERVICE_HOST"] = ip
		env[prefix+"_SERVICE_PORT"] = strconv.Itoa(int(first.Port))
		env[prefix+"_PORT"] = link(ip, first)
		for _, p := range s.Spec.Ports {
			if p.Name != "" {
				env[prefix+"_SERVICE_PORT_"+variable(p.Name)] = strconv.Itoa(int(p.Port))
			}
			port := fmt.Sprintf("%s_PORT_%d_%s", prefix, p.Port, protocol(p))
			env[port] = link(ip, p)
			env[port+"_PROTO"] = strings.ToLower(protocol(p))
			env[port+"_PORT"] = strconv.Itoa(int(p.Port))
			env[port+"_ADDR"] = ip
		}
	}
	return env
}

func link(ip string, p corev1.ServicePort) string {
	return strings.ToLower(protocol(p)) + "://" + net.JoinHostPort(ip, strconv.Itoa(int(p.Port)))
}

func protocol(p corev1.ServicePort) string {
	if p.Protocol == "" {
		return string(corev1.ProtocolTCP)
	}
	return string(p.Protocol)
}

func variable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
