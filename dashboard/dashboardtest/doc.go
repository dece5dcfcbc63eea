// Package dashboardtest fills a live state with what a small shop looks like while it
// runs, for tests of whatever shows it.
package dashboardtest
