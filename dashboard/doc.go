// Package dashboard shows live state: as a Kubernetes-style API that kubectl reads, and as
// pages for people. Both only read; everything is changed by git.
//
// The API serves get, list and watch of every kind of package api, cluster-wide and by
// project, as JSON or as Tables, and the logs of pods and builds. Whatever writes is
// answered with 405 and a Status that says where to write instead. Projects are also
// served as Namespaces, because kubectl asks for those.
//
// What is secret never leaves: the values of sealed kinds, and the inline secrets of
// webhooks, are replaced by a fixed mask before anything else looks at an object, so
// that neither a value nor its length or hash shows in any representation. Selectors
// on hidden fields are refused, for they would tell by what they match.
package dashboard
