// Package live knows, without reading, what moved in live state, and what desired objects
// are equal. It is what lets the cost of a plan follow what changed:
//
//   - Index is fed by the watches that look for drift. For each object it keeps the
//     resourceVersion at which something last changed that an apply could see.
//   - Hash identifies a desired object.
//
// An object whose hash is the one that was last compared, and that has not moved since the
// version it was compared at, is as it was then; nothing needs to be asked.
package live
