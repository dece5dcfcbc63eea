package api

// RequestedAt is an annotation of a GitRepository: whenever it changes the repository is looked at. A server that
// is told of a commit writes it, for another that may lead.
const RequestedAt = "slipway.dev/requested-at"
