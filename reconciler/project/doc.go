// Package project keeps Projects: what each is given when it begins (blocks of user and
// group ids, a virtual network id, service accounts and role bindings), that all of its
// content goes before it does, and, for every object, that what it owns goes with it, and
// of pods that have ended and were replaced all but the newest.
//
// Four controllers do it.
//
//	project   one Project: allocate, furnish, or empty and let go
//	garbage   one object: are the owners that its ownerReferences name still there?
//	content   one namespace: does a Project of that name stand behind what is in it?
//	ended     one controller of pods: how many that have ended were replaced by it?
package project
