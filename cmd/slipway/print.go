package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// readFile reads a file; "-" is standard input.
func readFile(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// print writes an object as JSON or YAML.
func print(w io.Writer, format string, o any) error {
	j, err := json.MarshalIndent(o, "", "    ")
	if err != nil {
		return err
	}
	switch strings.ToLower(format) {
	case "json":
		_, err = fmt.Fprintf(w, "%s\n", j)
	case "yaml":
		var y []byte
		if y, err = yaml.JSONToYAML(j); err == nil {
			_, err = w.Write(y)
		}
	default:
		err = fmt.Errorf("-o %s: want json or yaml", format)
	}
	return err
}
