package nodeapi

import "time"

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
