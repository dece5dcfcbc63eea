package api

// PortForwardProtocol is what a connection to
// /api/v1/namespaces/PROJECT/pods/NAME/portforward?port=NUMBER is upgraded to: the bytes
// of one TCP connection to the pod, both ways.
const PortForwardProtocol = "slipway-tcp"
