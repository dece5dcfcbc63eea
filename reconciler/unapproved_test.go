package reconciler

import (
	"encoding/json"
	"testing"
)

func TestUncover(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ proposed, covered, open, want string }{
		"all the same":          {`{"a":"X","b":1}`, `{"a":"X","b":1}`, `{"a":"secret","b":1}`, `{"a":"secret","b":1}`},
		"another field":         {`{"a":"X","b":2}`, `{"a":"X","b":1}`, `{"a":"secret","b":1}`, `{"a":"secret","b":2}`},
		"a new place":           {`{"a":"X","c":"X"}`, `{"a":"X"}`, `{"a":"secret"}`, `{"a":"secret","c":"X"}`},
		"another place":         {`{"c":"X"}`, `{"a":"X"}`, `{"a":"secret"}`, `{"c":"X"}`},
		"something made of it":  {`{"a":"XX"}`, `{"a":"X"}`, `{"a":"secret"}`, `{"a":"XX"}`},
		"an item before":        {`[{"name":"n","v":"1"},{"name":"p","v":"X"}]`, `[{"name":"p","v":"X"}]`, `[{"name":"p","v":"secret"}]`, `[{"name":"n","v":"1"},{"name":"p","v":"secret"}]`},
		"an item of its name":   {`[{"name":"q","v":"X"}]`, `[{"name":"p","v":"X"}]`, `[{"name":"p","v":"secret"}]`, `[{"name":"q","v":"X"}]`},
		"items without names":   {`["a","X","X"]`, `["b","X"]`, `["b","secret"]`, `["a","secret","X"]`},
		"a field that is new":   {`{"a":"X"}`, `{}`, `{}`, `{"a":"X"}`},
		"another kind of value": {`{"a":["X"]}`, `{"a":{"b":"X"}}`, `{"a":{"b":"secret"}}`, `{"a":["X"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var proposed, covered, open any
			for _, v := range []struct {
				text string
				into *any
			}{{c.proposed, &proposed}, {c.covered, &covered}, {c.open, &open}} {
				if err := json.Unmarshal([]byte(v.text), v.into); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := json.Marshal(proposed)
			got, err := json.Marshal(uncover(proposed, covered, open))
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
			if after, _ := json.Marshal(proposed); string(after) != string(before) {
				t.Errorf("what a renderer shares was changed to %s", after)
			}
		})
	}
}
