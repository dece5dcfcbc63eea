package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/live"
)

// Action is what a plan does to one object.
type Action string

// The actions.
const (
	Create Action = "create"
	Change Action = "change"
	Prune  Action = "prune"
	// Replace deletes the object and makes it anew.
	Replace Action = "replace"
)

// FieldChange is one field that a plan changes. A field that is added has no Old, one
// that goes has no New; both are JSON.
type FieldChange struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Step is what a plan does to one object.
type Step struct {
	Action Action        `json:"action"`
	Object string        `json:"object"`
	File   string        `json:"file,omitempty"`
	Line   int           `json:"line,omitempty"`
	Via    string        `json:"via,omitempty"`
	Fields []FieldChange `json:"fields,omitempty"`

	// desired is what is applied; for Prune, what is deleted.
	desired *unstructured.Unstructured
	live    *unstructured.Unstructured
	stage   api.Stage
	// app owns the object, ref and hash identify it as git has it.
	app  types.NamespacedName
	ref  inventoryRef
	hash live.Hash
	// policy is what its annotations ask for.
	policy policy
	// prepared is what comparing left for the apply; nil: nothing.
	prepared any
}

// Plan is what applying an application at a revision would do.
type Plan struct {
	Application string `json:"application"`
	Path        string `json:"path,omitempty"`
	Commit      string `json:"commit"`
	// Live is the commit that live state follows now; empty before the first apply.
	Live         string        `json:"live,omitempty"`
	Steps        []Step        `json:"steps"`
	Unchanged    int           `json:"unchanged"`
	Consequences []string      `json:"consequences,omitempty"`
	Problems     []api.Problem `json:"problems,omitempty"`
	inventory    []inventoryRef
	// contested is drift that waits to be put back.
	contested []string
	// depends is what of the tree the desired objects follow from.
	depends api.Depends
	passage
	// waves are those of the objects that are not in wave 0.
	waves map[inventoryRef]int
	// unserved are the objects that the target has no kind for.
	unserved []string
	// going are the objects that are being deleted.
	going []*unstructured.Unstructured
}

// Empty says that live state is already as desired.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// Count counts the steps with an action.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, s := range p.Steps {
		if s.Action == a {
			n++
		}
	}
	return n
}

// Digest identifies what the plan does, whatever the commit it comes from and whatever the
// order of its steps: two plans with the same digest do the same to the same fields. Of the
// values of a Secret it knows only that they change, so that it gives nothing away.
func (p *Plan) Digest() string {
	lines := make([]string, 0, len(p.Steps))
	for _, s := range p.Steps {
		fields := slices.Clone(s.Fields)
		slices.SortFunc(fields, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
		content := ""
		if s.Action != Prune && !sealed(s.desired) {
			content = hex.EncodeToString(s.hash[:])
		}
		lines = append(lines, fmt.Sprintf("%s %s %q %s\n", s.Action, s.Object, fields, content))
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line))
	}
	return hex.EncodeToString(h.Sum(nil))
}

var signs = map[Action]string{Create: "+", Change: "~", Prune: "-", Replace: "±"}

// String prints the plan for people: a line per object with where it comes from, a
// line per field, then what follows from it.
func (p *Plan) String() string { return p.text(math.MaxInt) }

// text is the plan as String prints it, up to the step that ends beyond limit bytes.
func (p *Plan) text(limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "application %s", p.Application)
	if p.Path != "" && p.Path != "." {
		fmt.Fprintf(&b, "  %s", p.Path)
	}
	fmt.Fprintf(&b, "  at %s", Short(p.Commit))
	if p.Live != "" && p.Live != p.Commit {
		fmt.Fprintf(&b, " (live: %s)", Short(p.Live))
	}
	b.WriteString("\n")
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "  ! %s\n", api.ProblemString(problem))
	}
	for _, s := range p.Steps {
		if s.print(&b); b.Len() > limit {
			return b.String()
		}
	}
	if len(p.Consequences) > 0 {
		b.WriteString("  what follows\n")
		for _, c := range p.Consequences {
			fmt.Fprintf(&b, "    › %s\n", c)
		}
	}
	if len(p.unserved) > 0 {
		fmt.Fprintf(&b, "  the target does not serve %s\n", list(p.unserved))
	}
	if len(p.Problems) > 0 {
		fmt.Fprintf(&b, "  %d to mend; nothing would be applied.\n", len(p.Problems))
		return b.String()
	}
	replaced := ""
	if n := p.Count(Replace); n > 0 {
		replaced = fmt.Sprintf("%d to replace, ", n)
	}
	fmt.Fprintf(&b, "  %d to create, %d to change, %s%d to prune, %d unchanged.\n",
		p.Count(Create), p.Count(Change), replaced, p.Count(Prune), p.Unchanged)
	return b.String()
}

func (s Step) print(b *strings.Builder) {
	line := fmt.Sprintf("  %s %s", signs[s.Action], s.Object)
	if s.File != "" {
		where := s.File
		if s.Line > 0 {
			where = fmt.Sprintf("%s:%d", s.File, s.Line)
		}
		line = fmt.Sprintf("%-48s %s", line, where)
	}
	if s.Via != "" {
		line += " (" + s.Via + ")"
	}
	b.WriteString(line + "\n")
	for _, f := range s.Fields {
		switch {
		case f.Old == "":
			fmt.Fprintf(b, "      %s: + %s\n", f.Path, f.New)
		case f.New == "":
			fmt.Fprintf(b, "      %s: - %s\n", f.Path, f.Old)
		default:
			fmt.Fprintf(b, "      %s: %s → %s\n", f.Path, f.Old, f.New)
		}
	}
}

// Short is a commit as people read it: its first seven digits.
func Short(commit string) string { return commit[:min(7, len(commit))] }
