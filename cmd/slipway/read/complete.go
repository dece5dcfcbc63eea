package read

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// names lists objects for completion, which must not wait long for a server.
func (s *scope) names(cmd *cobra.Command, k api.Kind) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	var list metav1.PartialObjectMetadataList
	if s.object(ctx, path(k, s.in(), ""), nil, &list) != nil {
		return nil
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.Name)
	}
	return out
}

func (s *scope) completeProjects(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	k, err := kind("projects")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return s.names(cmd, k), cobra.ShellCompDirectiveNoFileComp
}

// complete offers kinds, then names.
func (s *scope) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return append(resources(), "all"), cobra.ShellCompDirectiveNoFileComp
	}
	k, err := kind(args[0])
	if err != nil || strings.Contains(args[0], ",") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.names(cmd, k), cobra.ShellCompDirectiveNoFileComp
}
