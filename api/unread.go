package api

import "errors"

// ErrUnread is what an error of a Revision's Tree is, by errors.Is, where git has something
// at the path that is not read, such as a submodule: a mistake of the author, whom the error
// tells what to do, and not a failure to read.
var ErrUnread = errors.New("it is not read")
