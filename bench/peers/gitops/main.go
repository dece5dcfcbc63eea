// Command gitops compares objects with gitops-engine, what Argo CD finds differences with.
//
// It reads the declared objects and the live ones, a JSON array each and in the same
// order, and prints the seconds that each run took and the names that differ.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Answer is what is printed.
type Answer struct {
	Seconds []float64 `json:"seconds"`
	Differ  []string  `json:"differ"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: gitops DECLARED LIVE RUNS")
	}
	declared, err := read(args[0])
	if err != nil {
		return err
	}
	live, err := read(args[1])
	if err != nil {
		return err
	}
	runs, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var answer Answer
	for range runs {
		began := time.Now()
		result, err := diff.DiffArray(declared, live, diff.WithNormalizer(diff.GetNoopNormalizer()))
		if err != nil {
			return err
		}
		answer.Seconds = append(answer.Seconds, time.Since(began).Seconds())
		answer.Differ = nil
		for i, d := range result.Diffs {
			if d.Modified {
				answer.Differ = append(answer.Differ, declared[i].GetKind()+"/"+declared[i].GetName())
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func read(file string) ([]*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := make([]*unstructured.Unstructured, len(list))
	for i, one := range list {
		out[i] = &unstructured.Unstructured{}
		if err := out[i].UnmarshalJSON(one); err != nil {
			return nil, fmt.Errorf("%s: object %d: %w", file, i, err)
		}
	}
	return out, nil
}
