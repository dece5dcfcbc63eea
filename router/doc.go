// Package router is the edge: Routes become a listening proxy.
//
// What there is to route (Routes, Services, Endpoints) is compiled into a Table, a value
// that prints itself; compiling is pure. The proxy looks requests up in the table of the
// moment, which is swapped whole. A Route that cannot be compiled is refused alone, and
// its status says why; a read that fails leaves the last table in place.
//
// Requests go to the pods' own addresses. A request that no backend has seen a byte of
// is given to another one, an endpoint that leaves keeps what it is serving and gets
// nothing new, and one that refuses connections is passed over for a moment: a rolling
// deployment costs no request.
package router
