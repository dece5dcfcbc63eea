// Package jsonnet evaluates the Jsonnet files of a tree to objects.
//
// It runs in the sandbox's child. What it reads it asks of a Host, which knows only the
// tree: there is no importer that opens files. Beside the tree there is one built-in
// import, slipway.libsonnet, with constructors for every kind.
package jsonnet
