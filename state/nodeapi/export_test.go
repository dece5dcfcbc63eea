package nodeapi

import (
	"net/http"
	"time"

	"slipway.dev/slipway/state/nodecert"
)

// Hurry sets how long nodes and strangers may take.
func (s *Server) Hurry(send, take, stranger time.Duration) { s.times = times{send, take, stranger} }

// UnderWay is how many requests of a node are being answered.
func (s *Server) UnderWay(node string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage(node).open
}

// What a node may do at once.
const (
	AtOnce    = atOnce
	Strangers = strangers
)

// AddressOf is where a node is that asks by r, with a token or without.
func (s *Server) AddressOf(r *http.Request, name, token, was string) (string, error) {
	return s.address(r, name, nodecert.Ask{Token: token}, was)
}
