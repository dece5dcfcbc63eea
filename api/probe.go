package api

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	setDefault(&p.TimeoutSeconds, 1)
	setDefault(&p.PeriodSeconds, 10)
	setDefault(&p.SuccessThreshold, 1)
	setDefault(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		setPointer(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(g *corev1.HTTPGetAction) {
	if g != nil {
		setDefault(&g.Path, "/")
		setDefault(&g.Scheme, corev1.URISchemeHTTP)
	}
}

// validateProbe checks a probe; once says that one success must be enough, as for
// liveness and start-up.
func validateProbe(pr *corev1.Probe, c *corev1.Container, once bool, p *field.Path) field.ErrorList {
	if pr == nil {
		return nil
	}
	errs := validateHandler(pr.Exec, pr.HTTPGet, pr.TCPSocket, pr.GRPC, c, p)
	errs = append(errs, nonNegative(p.Child("initialDelaySeconds"), pr.InitialDelaySeconds)...)
	errs = append(errs, positive(p.Child("timeoutSeconds"), pr.TimeoutSeconds)...)
	errs = append(errs, positive(p.Child("periodSeconds"), pr.PeriodSeconds)...)
	errs = append(errs, positive(p.Child("successThreshold"), pr.SuccessThreshold)...)
	errs = append(errs, positive(p.Child("failureThreshold"), pr.FailureThreshold)...)
	if once && pr.SuccessThreshold > 1 {
		errs = append(errs, field.Invalid(p.Child("successThreshold"), pr.SuccessThreshold, "must be 1"))
	}
	switch g := pr.TerminationGracePeriodSeconds; {
	case g == nil:
	case !once:
		errs = append(errs, field.Invalid(p.Child("terminationGracePeriodSeconds"), *g, "must not be set for readinessProbes: nothing is ended"))
	default:
		errs = append(errs, positive(p.Child("terminationGracePeriodSeconds"), *g)...)
	}
	return errs
}

func validateLifecycle(l *corev1.Lifecycle, c *corev1.Container, p *field.Path) field.ErrorList {
	if l == nil {
		return nil
	}
	var errs field.ErrorList
	for name, h := range map[string]*corev1.LifecycleHandler{"postStart": l.PostStart, "preStop": l.PreStop} {
		switch {
		case h == nil:
		case h.Sleep != nil && (h.Exec != nil || h.HTTPGet != nil || h.TCPSocket != nil):
			errs = append(errs, field.Forbidden(p.Child(name), "may not specify more than 1 handler type"))
		case h.Sleep != nil:
			errs = append(errs, nonNegative(p.Child(name, "sleep", "seconds"), h.Sleep.Seconds)...)
		default:
			errs = append(errs, validateHandler(h.Exec, h.HTTPGet, h.TCPSocket, nil, c, p.Child(name))...)
		}
	}
	return errs
}

// validateHandler wants exactly one way to ask a container how it is.
func validateHandler(exec *corev1.ExecAction, get *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction, grpc *corev1.GRPCAction, c *corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	if exec != nil {
		n++
		if len(exec.Command) == 0 {
			errs = append(errs, field.Required(p.Child("exec", "command"), ""))
		}
	}
	if get != nil {
		n++
		at := p.Child("httpGet")
		errs = append(errs, validateHandlerPort(get.Port, c, at.Child("port"))...)
		errs = append(errs, validateHandlerHost(get.Host, at.Child("host"))...)
		errs = append(errs, oneOf(at.Child("scheme"), get.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
		for i, h := range get.HTTPHeaders {
			errs = append(errs, named(at.Child("httpHeaders").Index(i).Child("name"), h.Name, validation.IsHTTPHeaderName)...)
		}
	}
	if tcp != nil {
		n++
		errs = append(errs, validateHandlerPort(tcp.Port, c, p.Child("tcpSocket", "port"))...)
		errs = append(errs, validateHandlerHost(tcp.Host, p.Child("tcpSocket", "host"))...)
	}
	if grpc != nil {
		n++
		errs = append(errs, invalid(p.Child("grpc", "port"), grpc.Port, validation.IsValidPortNum(int(grpc.Port)))...)
	}
	switch {
	case n == 0:
		errs = append(errs, field.Required(p, "must specify a handler type"))
	case n > 1:
		errs = append(errs, field.Forbidden(p, "may not specify more than 1 handler type"))
	}
	return errs
}

// validateHandlerHost refuses other hosts: the node asks, and reaches what the project may not.
func validateHandlerHost(host string, p *field.Path) field.ErrorList {
	if host == "" {
		return nil
	}
	return field.ErrorList{field.Forbidden(p, "a pod is asked at its own address: nodes ask nobody else for it")}
}

func validateHandlerPort(v intstr.IntOrString, c *corev1.Container, p *field.Path) field.ErrorList {
	errs := port(p, v)
	if len(errs) > 0 || v.Type == intstr.Int {
		return errs
	}
	for _, cp := range c.Ports {
		if cp.Name == v.StrVal {
			return nil
		}
	}
	return field.ErrorList{field.Invalid(p, v.StrVal, "names no port of the container")}
}
