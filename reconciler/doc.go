// Package reconciler holds desired against live: it renders an Application at a
// revision, plans, applies, prunes, repairs drift and records.
//
// The way of a change:
//
//	revision ──render──▶ desired ──plan──▶ Plan ──apply──▶ live state ──▶ Record
//
// A Plan is a value: what is created, changed (field by field) and pruned, where each
// object comes from, and what follows from it (pods restarted, routes moved). It
// prints itself, and nothing has happened when it exists. Planning is a server-side
// apply dry run over live state (fluxcd/pkg/ssa), so that fields which git does not
// name stay with whoever owns them.
//
// Rules that hold throughout:
//   - One mistake stops its application with every mistake at once, and nothing else.
//     The last good commit stays in force, and drift from it is still repaired.
//   - Nothing is planned from ignorance: a failed read ends the attempt, an empty
//     render never deletes.
//   - What an application owns is written down before it is made, so that a process
//     that dies in between loses track of nothing.
//
// The controllers that take it from there have a folder each below this one.
package reconciler
