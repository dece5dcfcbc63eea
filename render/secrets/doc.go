// Package secrets opens files that SOPS encrypted with age.
//
// A file is recognised by its top-level key `sops`. Each value of it is sealed by itself
// with AES-256-GCM under the file's data key, bound to its place by the keys above it; the
// data key is sealed for each age recipient; a checksum (SHA-512) over all values in the
// order of the file is sealed too, bound to the time of the last change. So a value that
// was altered, moved, added or taken away is found, and named.
//
// Files are opened in memory, in the parent of the sandbox: keys never reach the child that
// parses, and no error of this package holds a value. Other key services than age, and data
// keys that are split among groups of keys, are refused.
package secrets
