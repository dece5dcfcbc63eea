// Package schema makes JSON Schemas of the kinds that a repository may hold, for editors
// and for CI: out of the Go types that objects are checked against, with their comments as
// descriptions.
//
// What a schema refuses, `slipway lint` refuses, too: unknown fields and values of the wrong
// type. It refuses more: names, ranges, references and what the fields mean together.
package schema
