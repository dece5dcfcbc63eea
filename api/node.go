package api

// NodeAddress is the annotation of a Node with the address that other nodes and servers
// reach its host by.
const NodeAddress = "slipway.dev/address"
