// Package gate decides whether a plan may be carried out now: brakes, windows, holds and
// suspensions. It is given what was read and says what follows from it; it reads nothing.
package gate
