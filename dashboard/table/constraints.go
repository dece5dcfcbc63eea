package table

import (
	"fmt"
	"time"

	securityv1 "github.com/openshift/api/security/v1"
)

// constraintsCells are the columns of `oc get scc`.
func constraintsCells(c *securityv1.SecurityContextConstraints, _ time.Time) []any {
	priority := "<none>"
	if c.Priority != nil {
		priority = fmt.Sprint(*c.Priority)
	}
	return []any{
		c.Name, c.AllowPrivilegedContainer, fmt.Sprint(c.AllowedCapabilities), string(c.SELinuxContext.Type), string(c.RunAsUser.Type),
		string(c.FSGroup.Type), string(c.SupplementalGroups.Type), priority, c.ReadOnlyRootFilesystem, fmt.Sprint(c.Volumes),
	}
}
