// Package dns answers the names of services, endpoints and pods, and hands every other
// question to the node's own resolvers.
//
// Records is what is known, fed from live state; it answers from memory, also while
// live state is away. Under the zone cluster.local (OpenShift 3, "DNS"):
//
//	<service>.<project>.svc               the service address, or each endpoint's if it has none
//	<any>.<service>.<project>.svc         the same, for a service that has an address
//	_endpoints.<service>.<project>.svc    each endpoint's address
//	<host>.<service>.<project>.svc        one endpoint; host is its hostname or a-b-c-d
//	_<port>._<protocol>.<service>.<project>.svc      SRV; without _<port>: of every port
//	<service>.<project>.endpoints         each endpoint's address, whatever the service is
//	a-b-c-d.<project>.pod                 the address a.b.c.d
//
// Records live 30 seconds, and what does not exist is remembered for 5. Answers of the node's
// own resolvers are kept as long as their records live.
package dns
