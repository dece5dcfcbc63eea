package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
)

func diffCommand() *cobra.Command {
	var address, repository, ref, output string
	cmd := &cobra.Command{
		Use:     "diff --ref BRANCH",
		Short:   "Show what merging a branch would do; exits 0 nothing, 1 something, 2 an error",
		GroupID: "repo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := fetchPreview(cmd, address, repository, ref)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(p); err != nil {
					return err
				}
			} else {
				fmt.Fprint(cmd.OutOrStdout(), p.Text)
			}
			switch {
			case p.Problems > 0:
				return exitCode(2)
			case p.Changes > 0:
				return exitCode(1)
			}
			return nil
		},
	}
	read.ServerFlag(cmd, &address)
	f := cmd.Flags()
	f.StringVar(&repository, "repository", "slipway/root", "project/name of the GitRepository")
	f.StringVar(&ref, "ref", "", "branch, tag or commit to look at (required)")
	f.StringVarP(&output, "output", "o", "", "json, or the plan as text")
	_ = cmd.MarkFlagRequired("ref")
	return cmd
}

func fetchPreview(cmd *cobra.Command, address, repository, ref string) (server.PreviewAnswer, error) {
	var p server.PreviewAnswer
	u := address + "/slipway/v1/diff?" + url.Values{"repository": {repository}, "ref": {ref}}.Encode()
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, u, nil)
	if err != nil {
		return p, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, read.NoAnswer(address, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return p, fmt.Errorf("diff of %s: %s: %s", ref, res.Status, body)
	}
	return p, json.NewDecoder(res.Body).Decode(&p)
}
