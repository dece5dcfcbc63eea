package secrets

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

func keys(t testing.TB, names ...string) Keys {
	t.Helper()
	k := Keys{From: "the test"}
	for _, name := range names {
		text, err := os.ReadFile("testdata/" + name + ".agekey")
		if err != nil {
			t.Fatal(err)
		}
		more, err := ParseIdentities(text)
		if err != nil {
			t.Fatal(err)
		}
		k.Identities = append(k.Identities, more...)
	}
	return k
}

func parse(t testing.TB, file, text string) []document.Document {
	t.Helper()
	docs, problems := document.Parse(file, []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return docs
}

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The genuine sops encrypted these files; opened, they are what they were.
func TestOpensWhatSopsMade(t *testing.T) {
	files, err := filepath.Glob("testdata/sealed/*")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		docs := parse(t, name, read(t, file))
		if docs[0].Sealed == nil {
			t.Errorf("%s is not recognised", name)
			continue
		}
		opened, problems := Open(name, docs, keys(t, "a"))
		if len(problems) > 0 || len(opened) == 0 {
			t.Errorf("%s: %d opened, %v", name, len(opened), problems)
			continue
		}
		// What is plain would be split where it is a List.
		plain := parse(t, name, strings.Replace(read(t, "testdata/plain/"+name), "kind: List", "kind: Group", 1))
		if name == "list.yaml" {
			docs[0].Object["kind"] = "Group"
		}
		if len(docs) != len(plain) {
			t.Fatalf("%s: %d documents", name, len(docs))
		}
		for i := range docs {
			if want := expected(name, plain[i].Object); !reflect.DeepEqual(map[string]any(docs[i].Object), want) {
				t.Errorf("%s: got %v\nwant %v", name, docs[i].Object, want)
			}
		}
	}
}

// expected is a plain file's object as sops gives it back: a time in its own form.
func expected(name string, m map[string]any) map[string]any {
	if name == "types.yaml" {
		values := m["values"].(map[string]any)
		values["date"] = "2024-05-06T00:00:00Z"
	}
	return m
}

func TestSecondRecipient(t *testing.T) {
	docs := parse(t, "x.yaml", read(t, "testdata/sealed/two-recipients.yaml"))
	if _, problems := Open("x.yaml", docs, keys(t, "b")); len(problems) > 0 {
		t.Error(problems)
	}
}

// sealedLine is the line of a key in a file, with its number.
func sealedLine(t *testing.T, text, key string) (line string, number int) {
	t.Helper()
	for i, l := range strings.Split(text, "\n") {
		if strings.Contains(l, key+": ENC[") || strings.Contains(l, key+": \"ENC[") {
			return l, i + 1
		}
	}
	t.Fatalf("no %s in\n%s", key, text)
	return "", 0
}

func valueOf(line string) string { return line[strings.Index(line, "ENC["):] }

func TestWhatIsRefused(t *testing.T) {
	good := read(t, "testdata/sealed/secret.yaml")
	password, at := sealedLine(t, good, "password")
	user, userAt := sealedLine(t, good, "user")
	mac, _ := sealedLine(t, good, "mac")
	other := valueOf(func() string {
		l, _ := sealedLine(t, read(t, "testdata/sealed/mac-only-encrypted.yaml"), "password")
		return l
	}())
	altered := strings.Replace(password, "data:", "data:AA", 1)
	for _, c := range []struct {
		name, text string
		keys       Keys
		want       string
	}{
		{"no key", good, Keys{From: "nowhere"}, "x.yaml:2: sops: is encrypted for age1"},
		{"no key, where", good, Keys{From: "nowhere"}, "there is no age key to open it; keys come from nowhere"},
		{"wrong key", good, keys(t, "b"), "no age key at hand is one of these; keys come from the test"},
		{"altered value", strings.Replace(good, password, altered, 1), keys(t, "a"), fmt.Sprintf("x.yaml:%d: stringData.password: cannot be opened", at)},
		{"moved value", strings.Replace(good, valueOf(user), valueOf(password), 1), keys(t, "a"), fmt.Sprintf("x.yaml:%d: stringData.user: cannot be opened", userAt)},
		{"value of another file", strings.Replace(good, valueOf(password), other, 1), keys(t, "a"), "stringData.password: cannot be opened"},
		{"plain instead of sealed", strings.Replace(good, valueOf(password), "hello", 1), keys(t, "a"), "stringData.password: should be encrypted, and is plain"},
		{"number instead of sealed", strings.Replace(good, valueOf(password), "12", 1), keys(t, "a"), "stringData.password: should be encrypted, and is plain"},
		{"other type", strings.Replace(good, password, strings.Replace(password, "type:str", "type:int", 1), 1), keys(t, "a"), "stringData.password: does not hold a value of its type, int"},
		{"no such type", strings.Replace(good, password, strings.Replace(password, "type:str", "type:magic", 1), 1), keys(t, "a"), "is of type magic"},
		{"altered MAC", strings.Replace(good, mac, strings.Replace(mac, "data:", "data:AA", 1), 1), keys(t, "a"), "sops: mac cannot be opened"},
		{"MAC that is a value", strings.Replace(good, valueOf(mac), valueOf(password), 1), keys(t, "a"), "sops: mac cannot be opened"},
		{"empty MAC", strings.Replace(good, valueOf(mac), `""`, 1), keys(t, "a"), "sops: mac cannot be opened"},
		{"altered time", strings.Replace(good, "lastmodified: \"20", "lastmodified: \"21", 1), keys(t, "a"), "sops: mac cannot be opened"},
		{"altered plain value", strings.Replace(good, "team: blue", "team: red", 1), keys(t, "a"), "sops: mac does not fit the values"},
		{"plain value added", strings.Replace(good, "team: blue", "team: blue\n        x: y", 1), keys(t, "a"), "sops: mac does not fit the values"},
		{"value taken away", strings.Replace(good, user+"\n", "", 1), keys(t, "a"), "sops: mac does not fit the values"},
		{"order changed", strings.Replace(strings.Replace(good, user+"\n", "", 1), password+"\n", user+"\n"+password+"\n", 1), keys(t, "a"), "sops: mac does not fit the values"},
		{"rule taken away", strings.Replace(good, "encrypted_regex: ", "nothing: ", 1), keys(t, "a"), "should be encrypted, and is plain"},
		{"two rules", strings.Replace(good, "encrypted_regex: ", "encrypted_suffix: x\n    encrypted_regex: ", 1), keys(t, "a"), "more than one rule"},
		{"broken rule", strings.Replace(good, "^(data|stringData)$", "(", 1), keys(t, "a"), "not a regular expression"},
		{"no recipient", strings.Replace(good, "    age:", "    gpg:", 1), keys(t, "a"), "sops: holds no age recipient"},
		{"damaged key", strings.Replace(good, "BEGIN AGE", "BEGIN EGA", 1), keys(t, "a"), "the data key for age1"},
		{"groups", strings.Replace(good, "    age:", "    key_groups: [{}]\n    age:", 1), keys(t, "a"), "split among groups are not supported"},
		{"wrong shape", strings.Replace(good, "    age:", "    mac_only_encrypted: 3\n    age:", 1), keys(t, "a"), "has the wrong type"},
	} {
		if c.text == good && !strings.Contains(c.name, "key") {
			t.Errorf("%s: the file is not changed", c.name)
		}
		opened, problems := Open("x.yaml", parse(t, "x.yaml", c.text), c.keys)
		if len(problems) == 0 || opened != nil || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: %d opened, %v; want %q", c.name, len(opened), problems, c.want)
			continue
		}
		if strings.Contains(problems.Error(), "canary") || strings.Contains(problems.Error(), "AGE-SECRET-KEY") {
			t.Errorf("%s: a secret is in %v", c.name, problems)
		}
	}
}

// With a checksum over sealed values only, plain ones may be changed, and nothing else.
func TestMACOnlyEncrypted(t *testing.T) {
	good := read(t, "testdata/sealed/mac-only-encrypted.yaml")
	if _, problems := Open("x.yaml", parse(t, "x.yaml", strings.Replace(good, "team: blue", "team: red", 1)), keys(t, "a")); len(problems) > 0 {
		t.Error(problems)
	}
	user, _ := sealedLine(t, good, "user")
	for _, bad := range []string{strings.Replace(good, user+"\n", "", 1), strings.Replace(good, "mac_only_encrypted: true", "mac_only_encrypted: false", 1)} {
		if _, problems := Open("x.yaml", parse(t, "x.yaml", bad), keys(t, "a")); !strings.Contains(api.Problems(problems).Error(), "mac does not fit") {
			t.Error(problems)
		}
	}
}

func TestAliasesAreRefused(t *testing.T) {
	for _, more := range []string{"x: &a 1\ny: *a\n", "x: &a {b: c}\ny: {<<: *a}\n"} {
		docs, problems := document.Parse("x.yaml", []byte(more+read(t, "testdata/sealed/secret.yaml")))
		if len(docs) > 0 || !strings.Contains(problems.Error(), "an encrypted file holds no aliases and no merges") {
			t.Errorf("%q: %d documents, %v", more, len(docs), problems)
		}
	}
}

func TestConceal(t *testing.T) {
	docs := parse(t, "x.json", read(t, "testdata/sealed/secret.json"))
	if problems := Conceal("x.json", docs, func(document.Leaf, string) string { return "X" }); len(problems) > 0 {
		t.Fatal(problems)
	}
	want := map[string]any{"password": "X", "n": int64(1), "f": int64(1), "t": false, "l": []any{"X", map[string]any{"b": "X"}}, "z": nil, "big": int64(1)}
	if !reflect.DeepEqual(docs[0].Object["stringData"], want) {
		t.Errorf("got %v", docs[0].Object["stringData"])
	}
}

func TestParseIdentities(t *testing.T) {
	if _, err := ParseIdentities([]byte("# x\n\nAGE-SECRET-KEY-1CANARY\n")); err == nil || err.Error() != "line 3 is not an age key (AGE-SECRET-KEY-…)" {
		t.Error(err)
	}
	if got, err := ParseIdentities([]byte(" \n")); got != nil || err != nil {
		t.Error(got, err)
	}
	if _, err := ParseIdentities([]byte("# nothing\n")); err == nil {
		t.Error("comments alone are taken for a key")
	}
}

// FuzzMetadata: whatever stands in an encrypted file, nothing panics, and nothing opens but
// with its key.
func FuzzMetadata(f *testing.F) {
	files, err := filepath.Glob("testdata/sealed/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(read(f, file), strings.HasSuffix(file, ".json"))
	}
	f.Add("a: ENC[AES256_GCM,data:,iv:,tag:,type:str]\nsops: {mac: '', lastmodified: '2024-01-01T00:00:00Z', age: [{enc: x}]}\n", false)
	right := keys(f, "a")
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		name := "f.yaml"
		if isJSON {
			name = "f.json"
		}
		docs, _ := document.Parse(name, []byte(text))
		if len(docs) == 0 || docs[0].Sealed == nil {
			return
		}
		if _, problems := Open(name, docs, Keys{}); len(problems) == 0 {
			t.Fatal("opened without a key")
		}
		Open(name, docs, right)
		docs, _ = document.Parse(name, []byte(text))
		Conceal(name, docs, func(document.Leaf, string) string { return "X" })
	})
}
