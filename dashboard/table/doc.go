// Package table makes of objects the rows that `kubectl get` and `oc get` show. The
// columns are those that their users know: kubernetes/pkg/printers/internalversion for
// the kinds of Kubernetes, openshift/oc/pkg/cli/get for those of OpenShift. Kinds without
// columns of their own show NAME and AGE.
package table
