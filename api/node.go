package api

const (
	// NodeAddress is the annotation of a Node with the address that other nodes and servers
	// reach its host by.
	NodeAddress = "slipway.dev/address"
	// NodeBuilds is the annotation of a Node that says whether builds run there; "false": none do.
	NodeBuilds = "slipway.dev/builds"
	// NodeServer is the annotation of a server's Node with the URL of its node API, where nodes and
	// other servers find it.
	NodeServer = "slipway.dev/server"
)
