package template

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	templatev1 "github.com/openshift/api/template/v1"
)

// ParseParameters reads NAME=VALUE pairs as `-p` gives them; a name given twice is an error.
func ParseParameters(pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("parameter %q: want NAME=VALUE", pair)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("parameter %q is given twice", name)
		}
		out[name] = value
	}
	return out, nil
}

var (
	fileLine   = regexp.MustCompile(`^(?:export\s+)?([A-Za-z0-9_.]+)\s*[=:]\s*(.*)$`)
	endComment = regexp.MustCompile(`\s+#.*$`)
	escapes    = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\\`, `\`, `\$`, "$")
)

// maxFileLine bounds a line of a parameter file, in bytes.
const maxFileLine = 1 << 20

// ParseParameterFile reads what `--param-file` names: a NAME=VALUE a line, as in an
// environment file. Lines may begin with `export`; `#` begins a comment; a value in
// double quotes may hold \n, \r, \t, \", \\ and \$, one in single quotes is taken as it is.
func ParseParameterFile(name string, in io.Reader) (map[string]string, error) {
	out := map[string]string{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxFileLine)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		m := fileLine.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("%s:%d: want NAME=VALUE", name, n)
		}
		value, err := unquote(m[2])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", name, n, m[1], err)
		}
		if _, twice := out[m[1]]; twice {
			return nil, fmt.Errorf("%s:%d: parameter %q is given twice", name, n, m[1])
		}
		out[m[1]] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

func unquote(v string) (string, error) {
	if v == "" || v[0] != '"' && v[0] != '\'' {
		if strings.HasPrefix(v, "#") {
			return "", nil
		}
		return strings.TrimSpace(endComment.ReplaceAllString(v, "")), nil
	}
	quote := v[0]
	for i := 1; i < len(v); i++ {
		rest := strings.TrimSpace(v[i+1:])
		switch {
		case v[i] == '\\' && quote == '"':
			i++
		case v[i] != quote:
		case rest != "" && rest[0] != '#':
			return "", fmt.Errorf("there is more after the closing quote")
		case quote == '"':
			return escapes.Replace(v[1:i]), nil
		default:
			return v[1:i], nil
		}
	}
	return "", fmt.Errorf("the quote is not closed")
}

// Parameters are the parameters that a Template declares.
func Parameters(template map[string]any) ([]templatev1.Parameter, error) {
	t, errs := read(template)
	return t.Parameters, errs.ToAggregate()
}

// WriteParameters writes the table that `oc process --parameters` prints.
func WriteParameters(w io.Writer, parameters []templatev1.Parameter) error {
	table := tabwriter.NewWriter(w, 20, 5, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tDESCRIPTION\tGENERATOR\tVALUE")
	for _, p := range parameters {
		value := p.Value
		if p.Generate != "" {
			value = p.From
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", p.Name, p.Description, p.Generate, value)
	}
	return table.Flush()
}
