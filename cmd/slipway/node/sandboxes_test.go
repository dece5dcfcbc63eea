package node

import (
	"testing"
)

func TestANodeRemembersHowManySandboxesItKeeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none, four := 0, 4
	for i, c := range []struct {
		said *int
		want int // what the agent is told
	}{{nil, 0}, {&four, 4}, {nil, 4}, {&none, -1}, {nil, -1}} {
		config := Config{DataDir: dir, Sandboxes: c.said}
		if err := config.remember(); err != nil {
			t.Fatal(err)
		}
		r := running{Config: &config}
		if got := r.sandboxes(); got != c.want {
			t.Errorf("start %d: %d, want %d", i, got, c.want)
		}
	}
}
