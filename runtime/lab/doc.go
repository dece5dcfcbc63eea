// Package lab makes several Docker hosts on this machine, for trying out and for tests: each
// is a network namespace with a Docker Engine of its own, and one bridge connects them as a
// network would. Slipway's servers and nodes run in them as they would on machines.
//
// Everything that a lab makes is named after its folder, and a file in the folder lists the
// hosts before anything is made. So whoever knows the folder can take everything away, also
// after the process that made it was killed.
//
// The hosts share this machine's files, processes and clock; only what belongs to the network
// is apart, and what Docker keeps apart itself.
package lab
