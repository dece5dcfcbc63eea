// Package document turns the text of a YAML or JSON file into objects that know the
// line of each of their fields.
//
// It reads hostile text: the size of what aliases unfold to, the depth, and the number
// of documents are bounded, and every mistake of a file is reported, not only the first.
// What Kubernetes' own decoders would take silently and differently from what was meant
// (a key given twice, NaN, an integer that does not fit) is a mistake here.
package document
