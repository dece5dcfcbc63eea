package constraints

import (
	"fmt"
	"slices"
	"strings"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/access"
)

// Reaches lists where a pod asks for more than every pod may have: for its host, or for power over it.
func Reaches(pod *corev1.Pod) field.ErrorList {
	floor, _ := Named(Everybody, nil)
	_, errs := Apply(&floor, pod, nil)
	return errs
}

// Question asks whether a pod may be made, and what it is then.
type Question struct {
	Pod *corev1.Pod
	// Declared are the constraints that live state has.
	Declared []securityv1.SecurityContextConstraints
	// Project reads the annotations of the pod's project, and Access the roles and bindings of the cluster and of the
	// project. They are called when they are needed, at most once.
	Project func() (map[string]string, error)
	Access  func() (access.Policy, error)
}

// Refusal says why no constraints that a pod's account may use allow it.
type Refusal struct {
	Subject access.Subject
	// Errors are those of the constraints that come closest, called Closest; none may be used if that is empty.
	Errors  field.ErrorList
	Closest string
	// Enough are the others that would allow it, the most restrictive first.
	Enough []string
}

// Error implements error.
func (r *Refusal) Error() string {
	var all []string
	for _, e := range r.Errors {
		all = append(all, e.Error())
	}
	return fmt.Sprintf("unable to validate against any security context constraint: [%s]: %s", strings.Join(all, ", "), r.Advice())
}

// Advice says who may do what about it.
func (r *Refusal) Advice() string {
	may := fmt.Sprintf("%s may use no SecurityContextConstraints", r.Subject)
	if r.Closest != "" {
		may = fmt.Sprintf("%s may use %s at most", r.Subject, r.Closest)
	}
	if len(r.Enough) == 0 {
		return may + ", and none that there are would allow it"
	}
	return fmt.Sprintf("%s; %s would allow it, if an administrator let the account use it", may, strings.Join(r.Enough, " or "))
}

// Answer is the pod as it is to be made, with its annotation. Where it may not be made, the error is a *Refusal.
func (q Question) Answer() (*corev1.Pod, error) {
	account := q.Pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	refusal := &Refusal{Subject: access.ServiceAccount(q.Pod.Namespace, account)}
	var project map[string]string
	var policy *access.Policy
	for _, c := range All(q.Declared) {
		may := Listed(&c, refusal.Subject)
		if !may {
			if policy == nil {
				p, err := q.Access()
				if err != nil {
					return nil, err
				}
				policy = &p
			}
			may = policy.Allows(refusal.Subject, Use(c.Name, q.Pod.Namespace))
		}
		if project == nil && needsProject(&c) {
			var err error
			if project, err = q.Project(); err != nil {
				return nil, err
			}
		}
		pod, errs := Apply(&c, q.Pod, project)
		switch {
		case may && len(errs) == 0:
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			pod.Annotations[api.ConstraintsAnnotation] = c.Name
			return pod, nil
		case may && (refusal.Closest == "" || len(errs) < len(refusal.Errors)):
			refusal.Closest, refusal.Errors = c.Name, errs
		case !may && len(errs) == 0:
			refusal.Enough = append(refusal.Enough, c.Name)
		}
	}
	if refusal.Closest == "" {
		refusal.Errors = field.ErrorList{field.Forbidden(field.NewPath("spec", "serviceAccountName"), "it may use no constraints")}
	}
	return nil, refusal
}

// Use is what whoever uses constraints for pods of a project asks for.
func Use(name, project string) access.Request {
	return access.Request{Verb: "use", Group: securityv1.GroupName, Resource: "securitycontextconstraints", Project: project, Name: name}
}

// Listed says that the constraints themselves name the subject, or a group of it.
func Listed(c *securityv1.SecurityContextConstraints, s access.Subject) bool {
	return s.Name != "" && slices.Contains(c.Users, s.Name) ||
		slices.ContainsFunc(s.Groups, func(g string) bool { return slices.Contains(c.Groups, g) })
}

func needsProject(c *securityv1.SecurityContextConstraints) bool {
	return c.RunAsUser.Type == securityv1.RunAsUserStrategyMustRunAsRange || c.FSGroup.Type == securityv1.FSGroupStrategyMustRunAs ||
		c.SupplementalGroups.Type == securityv1.SupplementalGroupsStrategyMustRunAs
}
