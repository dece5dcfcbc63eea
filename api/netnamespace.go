package api

import (
	networkv1 "github.com/openshift/api/network/v1"
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

// validateNetNamespace wants a wish or a number: which network a project gets without
// either is not the NetNamespace's to say, and a forgotten number must not open it to all.
func validateNetNamespace(n *networkv1.NetNamespace) field.ErrorList {
	var errs field.ErrorList
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
