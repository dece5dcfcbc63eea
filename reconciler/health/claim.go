package health

import (
	corev1 "k8s.io/api/core/v1"
)

// claim is Current when it is bound. One that has lost its volume does not get it back.
func claim(c *corev1.PersistentVolumeClaim) Health {
	switch c.Status.Phase {
	case corev1.ClaimBound:
		return Health{State: Current}
	case corev1.ClaimLost:
		return failed("has lost its volume %s", c.Spec.VolumeName)
	}
	return progress("waits for a volume of %s", c.Spec.Resources.Requests.Storage())
}
