package api

import (
	"reflect"
	"testing"
)

func TestParseLinks(t *testing.T) {
	t.Parallel()
	got, err := ParseLinks("db, db.shared:5432,3306=db:mysql")
	want := []Link{{Service: "db"}, {Service: "db", Project: "shared", Port: "5432"}, {Service: "db", Port: "mysql", Local: 3306}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, wrong := range []string{"db,", "=db", "3306=db", "x=db:80", "0=db:80", "db:", "db.", "db:-", "Db", "db:70000=", "a.b.c", "db db"} {
		if got, err := ParseLinks(wrong); err == nil {
			t.Errorf("%q was taken: %v", wrong, got)
		}
	}
}

// What ParseLinks takes is written the same.
func FuzzParseLinks(f *testing.F) {
	f.Add("db, db.shared:5432,3306=db:mysql")
	f.Fuzz(func(t *testing.T, text string) {
		links, err := ParseLinks(text)
		if err != nil {
			return
		}
		for _, l := range links {
			again, err := ParseLinks(l.String())
			if err != nil || len(again) != 1 || again[0] != l {
				t.Fatalf("%+v is written %q and read as %+v, %v", l, l, again, err)
			}
		}
	})
}
