package read

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/render/template"
)

// parameter is a generated value that the ledger keeps, without the value.
type parameter struct {
	Project     string    `json:"project,omitempty"`
	Application string    `json:"application"`
	Instance    string    `json:"instance"`
	Name        string    `json:"name"`
	Rotation    string    `json:"rotation,omitempty"`
	Made        time.Time `json:"made"`
}

func parametersCommand() *cobra.Command {
	s := &scope{}
	var output string
	cmd := &cobra.Command{
		Use:   "parameters [APPLICATION]",
		Short: "List the generated parameters that are kept, never their values",
		Long: `List the template parameters whose values were generated: of which application and template
instance, made when, and by which rotation (the word of annotation slipway.dev/rotate). Values are
sealed in live state and are never shown.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return s.complete(cmd, append([]string{"applications"}, args...), "")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			application := strings.Join(args, "")
			kept, err := s.parameters(cmd, application)
			if err != nil {
				return err
			}
			switch output {
			case "json":
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "    ")
				return e.Encode(kept)
			case "":
			default:
				return fmt.Errorf("-o %q: want json", output)
			}
			if len(kept) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "No parameter was generated yet.")
				return nil
			}
			rows := [][]string{{"PROJECT", "APPLICATION", "INSTANCE", "PARAMETER", "ROTATION", "AGE"}}
			for _, p := range kept {
				rows = append(rows, []string{p.Project, p.Application, p.Instance, p.Name, cmp.Or(p.Rotation, "-"), ago(p.Made)})
			}
			return newGrid(cmd).rows(rows...)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json")
	return cmd
}

// parameters lists what the ledger keeps for an application, or for all; in order.
func (s *scope) parameters(cmd *cobra.Command, application string) ([]parameter, error) {
	secrets, err := kind("secrets")
	if err != nil {
		return nil, err
	}
	var list corev1.SecretList
	q := url.Values{"fieldSelector": {"type=" + string(ledger.SecretType)}}
	if err := s.object(cmd.Context(), path(secrets, ledger.Project, ""), q, &list); err != nil {
		return nil, err
	}
	kept := []parameter{}
	for i := range list.Items {
		for _, p := range parametersOf(&list.Items[i]) {
			_, name, _ := strings.Cut(p.Application, "/")
			if (s.in() == "" || p.Project == s.in()) && (application == "" || application == name || application == p.Application) {
				kept = append(kept, p)
			}
		}
	}
	slices.SortFunc(kept, func(a, b parameter) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Application, b.Application), cmp.Compare(a.Instance, b.Instance),
			cmp.Compare(a.Name, b.Name), a.Made.Compare(b.Made), cmp.Compare(a.Rotation, b.Rotation))
	})
	return kept, nil
}

func parametersOf(s *corev1.Secret) []parameter {
	made := ledger.Made(s)
	// An instance is kept as `templateinstance/project/name`, or `template/project/name` where
	// Jsonnet processed the template.
	parts := strings.SplitN(s.Annotations[ledger.InstanceAnnotation], "/", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	var out []parameter
	for key := range s.Data {
		p := parameter{Project: parts[1], Application: s.Annotations[ledger.ApplicationAnnotation], Instance: parts[0] + "/" + parts[2], Made: made[key]}
		p.Name, p.Rotation = template.CutKey(key)
		if p.Made.IsZero() {
			p.Made = s.CreationTimestamp.Time
		}
		out = append(out, p)
	}
	return out
}
