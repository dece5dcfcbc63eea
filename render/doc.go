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
// Subpackages: document reads YAML and JSON with positions, jsonnet evaluates, template
// processes OpenShift Templates, ledger keeps generated values, sandbox holds the child.
package render
