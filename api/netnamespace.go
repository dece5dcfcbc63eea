package api

import (
	"strings"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ChangeNetworkAnnotation of a Project, or of the NetNamespace of its name, asks for another
// virtual network: `global`, `join:<project>` or `isolate`. Where OpenShift acts once and removes
// it, here it is a wish that holds as long as it is there.
const ChangeNetworkAnnotation = "pod.network.openshift.io/multitenant.change-network"

// The virtual networks that a project can have besides 0, which is global (OpenShift 3).
const (
	FirstNetID = 10
	MaxNetID   = 1<<24 - 1
)

func defaultNetNamespace(n *networkv1.NetNamespace) {
	if n.NetName == "" {
		n.NetName = n.Name
	}
}

// validateWish wants the annotation to ask for something that there is.
func validateWish(annotations map[string]string) field.ErrorList {
	wish, at := annotations[ChangeNetworkAnnotation], field.NewPath("metadata", "annotations").Key(ChangeNetworkAnnotation)
	target, joins := strings.CutPrefix(wish, "join:")
	switch {
	case joins && len(projectName(target, false)) > 0:
		return field.ErrorList{field.Invalid(at, wish, "names no project: "+projectName(target, false)[0])}
	case !joins && wish != "" && wish != "global" && wish != "isolate":
		return field.ErrorList{field.Invalid(at, wish, "must be global, isolate or join:PROJECT")}
	}
	return nil
}

func validateProject(p *projectv1.Project) field.ErrorList { return validateWish(p.Annotations) }

// validateNetNamespace wants a wish or a number: which network a project gets without
// either is not the NetNamespace's to say, and a forgotten number must not open it to all.
func validateNetNamespace(n *networkv1.NetNamespace) field.ErrorList {
	errs := validateWish(n.Annotations)
	if n.NetName != n.Name {
		errs = append(errs, field.Invalid(field.NewPath("netname"), n.NetName, "must be the same as metadata.name: "+n.Name))
	}
	switch at := field.NewPath("netid"); {
	case n.NetID == 0 && n.Annotations[ChangeNetworkAnnotation] == "":
		errs = append(errs, field.Required(at, "give the project's network, or say in metadata.annotations["+ChangeNetworkAnnotation+"] global, isolate or join:PROJECT"))
	case n.NetID != 0 && n.NetID < FirstNetID || n.NetID > MaxNetID:
		errs = append(errs, field.Invalid(at, n.NetID, "must be from 10 to 16777215"))
	}
	if len(n.EgressIPs) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("egressIPs"), "egress addresses are not supported"))
	}
	return errs
}
