// Package access decides who may do what to which object, and which references an object
// makes to other projects. It is Kubernetes' RBAC and OpenShift's rule for images: whoever
// uses another project's image stream needs that project's leave to pull it.
//
// It reads nothing: whoever asks brings the roles and bindings, as a Policy. The same table
// thus holds wherever an object comes in. Nobody, the zero Subject, may do nothing.
package access
