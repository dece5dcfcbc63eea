package router

// Ready says that every route has been read once, so that an unknown host is unknown
// indeed.
func (r *Router) Ready() bool {
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	return r.world.complete
}
