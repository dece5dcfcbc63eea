package chains

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"

	"slipway.dev/slipway/network/rules"
)

// waitForLock is how long another program may hold the lock of iptables, in seconds.
const waitForLock = "10"

// Filter brings a frame and a table of elements into iptables.
type Filter struct {
	frame  rules.Frame
	prefix string
	run    func(stdin, name string, args ...string) (string, error)
	// save and restore are the programs beside iptables.
	save, restore string

	mu      sync.Mutex
	written map[string]string // table and chain → its rules; nil: unknown. Guarded by mu, as all that follows.
	seen    listing           // what was listed after we had written: versions differ in the order of words
	heads   []head            // what builtin chains go to
}

// head is a chain of ours that a builtin one goes to, by its table.
type head struct {
	table string
	Chain
}

// NewFilter does not touch anything yet. program is the path or name of iptables.
func NewFilter(f rules.Frame, program string) *Filter {
	return &Filter{frame: f, prefix: prefixOf(f.Table), run: execute, save: program + "-save", restore: program + "-restore"}
}

func execute(stdin, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Sync writes the chains that are not as the table wants them. The first time, and after an
// error, it writes all.
func (f *Filter) Sync(t *rules.Table) (repaired bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	want := Compile(f.frame, t.Elements())
	if f.written != nil {
		text := f.difference(want)
		if text == "" {
			return false, nil
		}
		if _, err := f.run(text, f.restore, "--noflush", "--wait="+waitForLock); err == nil && f.noted(want) == nil {
			return false, nil
		}
	}
	return true, f.install(want)
}

// Check lists what there is and puts ours back where it is not as it was left.
func (f *Filter) Check(t *rules.Table) (repaired bool, err error) {
	f.mu.Lock()
	if f.written != nil {
		now, err := f.list()
		if err == nil && now.same(f.seen) && f.leads(now) {
			f.mu.Unlock()
			return false, nil
		}
		if err != nil {
			f.mu.Unlock()
			return false, err
		}
	}
	f.written = nil
	f.mu.Unlock()
	return f.Sync(t)
}

// Own implements what the same method of rules.Kernel does: nothing counts changes here.
func (f *Filter) Own() uint32 { return 0 }

// Close implements what the same method of rules.Kernel does: nothing is open.
func (f *Filter) Close() error { return nil }

// Generation is a number that is another one when any rule of iptables has changed.
func Generation(program string) (uint32, error) {
	text, err := execute("", program+"-save")
	if err != nil {
		return 0, err
	}
	h := fnv.New32a()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue // the time
		}
		rule, _, _ := strings.Cut(line, " [") // counters
		fmt.Fprintln(h, rule)
	}
	return h.Sum32(), nil
}

// Remove deletes all chains of the instance that this package made.
func (f *Filter) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.install(Ruleset{})
	f.written = nil
	return err
}

// mostTries is how often it is tried to get before others who write at the same time.
const mostTries = 3

// install makes iptables hold exactly the ruleset, whatever of ours it holds now.
func (f *Filter) install(want Ruleset) error {
	var why error
	for range mostTries {
		f.written = nil
		have, err := f.list()
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, t := range tables {
			f.replace(&b, t, want[t], have)
		}
		if b.Len() == 0 {
			return nil
		}
		if _, err := f.run(b.String(), f.restore, "--noflush", "--wait="+waitForLock); err != nil {
			return err
		}
		if why = f.noted(want); why == nil {
			return nil
		}
	}
	return why
}

// noted remembers what was written, and how it is listed. What is not there, or is not where
// it should be, somebody else has changed meanwhile.
func (f *Filter) noted(want Ruleset) error {
	now, err := f.list()
	if err != nil {
		return err
	}
	var heads []head
	written := map[string]string{}
	for t, list := range want {
		for _, c := range list {
			key := t + " " + c.Name
			if len(now.ours[key]) != len(c.Rules) {
				return fmt.Errorf("iptables: table %s: chain %s has %d rules after %d were written", t, c.Name, len(now.ours[key]), len(c.Rules))
			}
			if c.Builtin != "" && !f.leadsTo(now, t, c) {
				return fmt.Errorf("iptables: table %s: chain %s does not go to %s before others", t, c.Builtin, c.Name)
			}
			if c.Builtin != "" {
				heads = append(heads, head{t, c})
			}
			written[key] = strings.Join(c.Rules, "\n")
			// A chain that was left alone is still to look as it did after it was written.
			if was, known := f.seen.ours[key]; known && f.written[key] == written[key] {
				now.ours[key] = was
			}
		}
	}
	f.written, f.seen, f.heads = written, now, heads
	return nil
}

// difference is what makes the ruleset of what was written; empty: nothing.
func (f *Filter) difference(want Ruleset) string {
	var b strings.Builder
	wanted := map[string]bool{}
	for _, t := range tables {
		var changed []Chain
		for _, c := range want[t] {
			wanted[t+" "+c.Name] = true
			if text, has := f.written[t+" "+c.Name]; !has || text != strings.Join(c.Rules, "\n") {
				changed = append(changed, c)
			}
		}
		var gone []string
		for _, key := range slices.Sorted(maps.Keys(f.written)) {
			if table, name, _ := strings.Cut(key, " "); table == t && !wanted[key] {
				gone = append(gone, name)
			}
		}
		if len(changed)+len(gone) > 0 {
			write(&b, t, changed, nil, gone)
		}
	}
	return b.String()
}

// replace writes a table's chains, the jumps to them, and takes away what is no longer wanted.
func (f *Filter) replace(b *strings.Builder, table string, want []Chain, have listing) {
	var jumps, gone []string
	for _, c := range want {
		if c.Builtin != "" && !f.leadsTo(have, table, c) {
			if slices.Contains(have.builtin[table+" "+c.Builtin], "-j "+c.Name) {
				jumps = append(jumps, fmt.Sprintf("-D %s -j %s", c.Builtin, c.Name))
			}
			jumps = append(jumps, fmt.Sprintf("-I %s 1 -j %s", c.Builtin, c.Name))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have.ours)) {
		t, name, _ := strings.Cut(key, " ")
		if t != table || slices.ContainsFunc(want, func(c Chain) bool { return c.Name == name }) {
			continue
		}
		gone = append(gone, name)
		for at, lines := range have.builtin {
			if on, builtin, _ := strings.Cut(at, " "); on == table && slices.Contains(lines, "-j "+name) {
				jumps = append(jumps, fmt.Sprintf("-D %s -j %s", builtin, name))
			}
		}
	}
	if len(want)+len(gone) > 0 {
		write(b, table, want, jumps, gone)
	}
}

// write is a table's part of what iptables-restore reads: one change of that table.
func write(b *strings.Builder, table string, chains []Chain, jumps, gone []string) {
	fmt.Fprintf(b, "*%s\n", table)
	for _, c := range chains {
		fmt.Fprintf(b, ":%s - [0:0]\n", c.Name) // makes the chain, or empties it
	}
	for _, c := range chains {
		for _, line := range c.Rules {
			fmt.Fprintf(b, "-A %s %s\n", c.Name, line)
		}
	}
	for _, line := range jumps {
		fmt.Fprintln(b, line)
	}
	for _, name := range gone {
		fmt.Fprintf(b, "-F %s\n", name)
	}
	for _, name := range gone {
		fmt.Fprintf(b, "-X %s\n", name)
	}
	b.WriteString("COMMIT\n")
}

// listing is what iptables-save says, by table and chain.
type listing struct {
	ours    map[string][]string // rules of our chains
	builtin map[string][]string // rules of the builtin ones, without the names of these
}

func (l listing) same(o listing) bool {
	return maps.EqualFunc(l.ours, o.ours, func(a, b []string) bool { return slices.Equal(a, b) })
}

func (f *Filter) list() (listing, error) {
	text, err := f.run("", f.save)
	if err != nil {
		return listing{}, err
	}
	return f.read(text), nil
}

// read parses what iptables-save prints.
func (f *Filter) read(text string) listing {
	out := listing{ours: map[string][]string{}, builtin: map[string][]string{}}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			if name, _, _ := strings.Cut(line[1:], " "); f.isOurs(name) {
				out.ours[table+" "+name] = nil
			}
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[3:], " ")
			switch {
			case f.isOurs(name):
				out.ours[table+" "+name] = append(out.ours[table+" "+name], rule)
			case name == strings.ToUpper(name) && !strings.Contains(name, "-"):
				out.builtin[table+" "+name] = append(out.builtin[table+" "+name], rule)
			}
		}
	}
	return out
}

// isOurs: other chains of the instance have upper-case names.
func (f *Filter) isOurs(chain string) bool {
	rest, ok := strings.CutPrefix(chain, f.prefix)
	return ok && rest != "" && rest[0] >= 'a' && rest[0] <= 'z'
}

// aGuard is a jump to a chain that this package made, of whatever instance.
var aGuard = regexp.MustCompile(`^-j [A-Z][A-Z0-9]{0,6}-[a-z]+$`)

// leads says whether packets come to all our chains before somebody else's rule can accept them.
func (f *Filter) leads(have listing) bool {
	return !slices.ContainsFunc(f.heads, func(h head) bool { return !f.leadsTo(have, h.table, h.Chain) })
}

func (f *Filter) leadsTo(have listing, table string, c Chain) bool {
	for _, rule := range have.builtin[table+" "+c.Builtin] {
		if rule == "-j "+c.Name {
			return true
		}
		if !aGuard.MatchString(rule) {
			return false
		}
	}
	return false
}
