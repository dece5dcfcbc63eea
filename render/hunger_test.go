//go:build !race

package render_test

// hunger is how many times what it takes otherwise a child takes here.
const hunger = 1
