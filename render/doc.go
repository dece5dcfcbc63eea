// Package render turns a tree into objects: YAML and JSON as they are, Jsonnet evaluated,
// templates processed, promoted images filled in.
//
// A render is a function of the tree, the Application's parameters and the ledger of
// generated values: the same in gives the same out. It answers with every object and
// where it came from, or with every mistake of the application at once. Text that a
// repository holds is parsed and evaluated in a sandboxed child process (render/sandbox);
// the parent reads the tree, hands the child the files that it asks for, and keeps
// account of them.
//
// What nothing touched is not rendered again. Three things are kept: outcomes of whole
// applications, by the digests of what they depend on; outcomes of single files, where an
// application has several; and, in each child, parsed imports, as long as every one of them
// is the same in the next application's tree. A child never keeps a value: what one
// application's parameters, generated values or files made is not seen by another.
//
// Subpackages: document reads YAML and JSON with positions, jsonnet evaluates, template
// processes OpenShift Templates, ledger keeps generated values, sandbox holds the child.
package render
