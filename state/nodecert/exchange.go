package nodecert

// Path is where a node asks a server for a certificate, with its name in place of %s: a POST of an
// Ask, answered with an Answer.
const Path = "/slipway/v1/nodes/%s/certificate"

// Ask asks for a certificate: with a token, or with the certificate that the connection shows.
type Ask struct {
	Token string `json:"token,omitempty"`
	// Request is a certificate request in PEM.
	Request string `json:"request"`
	// Address is where other nodes and servers reach the node's host; empty: where the server sees it.
	Address string `json:"address,omitempty"`
	// Architecture of the host, as Go calls it.
	Architecture string `json:"architecture,omitempty"`
}

// Answer is what a node gets.
type Answer struct {
	// Certificate and Authority are in PEM.
	Certificate string  `json:"certificate"`
	Authority   string  `json:"authority"`
	Cluster     Cluster `json:"cluster"`
}

// Cluster is what every node has to know of the whole.
type Cluster struct {
	ClusterNetwork string `json:"clusterNetwork"`
	ServiceNetwork string `json:"serviceNetwork"`
	FlatNetwork    bool   `json:"flatNetwork,omitempty"`
	// Registry is the address, on each host's loopback interface, that images of the integrated
	// registry are named by.
	Registry string `json:"registry"`
}
