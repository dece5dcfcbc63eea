package read

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	routev1 "github.com/openshift/api/route/v1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

func traceCommand() *cobra.Command {
	s := &scope{}
	var output string
	cmd := &cobra.Command{
		Use:   "trace URL|POD|IMAGE|COMMIT|APPLICATION",
		Short: "Show from any one of them all the others: address, pods, image, build, source and configuration commit",
		Long: `Shows what belongs together, from any of its parts: the address that is served, the
route and service behind it, the pods and the nodes they run on, the deployment, the
image they run by digest, the tags that point at it, the build that made it, the commit
of the source that it was built from, and the commit of the configuration that is live.

What is looked for is a URL or host name, the name of a pod, deployment, route, service,
build or application, an image's digest or ` + "`stream:tag`" + `, or the beginning of a commit
of at least seven digits, of a source or of the configuration.`,
		Example: "  slipway trace https://shop.example.com/basket\n  slipway trace frontend-7-4kx2p\n  slipway trace sha256:a4f09be2\n  slipway trace 8c1f2ab",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("-o %q: want json", output)
			}
			w, err := s.traced(cmd.Context())
			if err != nil {
				return err
			}
			found := matching(w.chains(), args[0])
			if len(found) == 0 {
				return w.nothing(args[0])
			}
			if output == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(found)
			}
			return printChains(cmd, found)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json: for programs")
	return cmd
}

// traced is what chains are made of.
type traced struct {
	routes       routev1.RouteList
	services     corev1.ServiceList
	pods         corev1.PodList
	deployments  appsv1.DeploymentConfigList
	streams      imagev1.ImageStreamList
	images       imagev1.ImageList
	builds       buildv1.BuildList
	applications v1alpha1.ApplicationList
	records      v1alpha1.RecordList
	repositories v1alpha1.GitRepositoryList
}

// traced reads everything: images, streams and applications of other projects may be part
// of a chain, whatever -n says.
func (s *scope) traced(ctx context.Context) (*traced, error) {
	var w traced
	for _, list := range []struct {
		word, project string
		into          any
	}{
		{"routes", s.in(), &w.routes}, {"services", s.in(), &w.services}, {"pods", s.in(), &w.pods}, {"deploymentconfigs", s.in(), &w.deployments},
		{"imagestreams", "", &w.streams}, {"images", "", &w.images}, {"builds", "", &w.builds},
		{"applications", "", &w.applications}, {"records", "", &w.records}, {"gitrepositories", "", &w.repositories},
	} {
		k, err := kind(list.word)
		if err != nil {
			return nil, err
		}
		if err := s.object(ctx, path(k, list.project, ""), nil, list.into); err != nil {
			return nil, err
		}
	}
	return &w, nil
}

// nothing says why there is nothing to show. A commit that is not live any more is in the
// records.
func (w *traced) nothing(what string) error {
	for _, r := range w.records.Items {
		if isCommit(what) && strings.HasPrefix(r.Spec.Commit, what) {
			return fmt.Errorf("commit %s was applied to application %s/%s at %s, and is no longer live: `slipway history %s --record %s` shows its plan",
				short(r.Spec.Commit), r.Namespace, r.Spec.Application, r.Spec.Started.UTC().Format("2006-01-02 15:04:05Z"), r.Spec.Application, r.Name)
		}
	}
	return fmt.Errorf("nothing that is live belongs to %q: want a URL, a pod, a deployment, an image, a commit of at least seven digits or an application", what)
}

func printChains(cmd *cobra.Command, chains []chain) error {
	for i, c := range chains {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		fmt.Fprintln(cmd.OutOrStdout(), visible(c.Project+"/"+c.Deployment))
		g := newGrid(cmd)
		g.indent = "  "
		var rows [][]string
		add := func(label string, values ...string) {
			for _, v := range values {
				if v != "" {
					rows = append(rows, []string{label, v})
					label = ""
				}
			}
		}
		add("address", c.URLs...)
		add("route", c.Routes...)
		add("service", c.Services...)
		add("pod", c.podLines()...)
		add("deployment", fmt.Sprintf("%s, version %d", c.Deployment, c.Version))
		for _, image := range c.Images {
			add("image", image.Digest)
			add("tag", image.Tags...)
			add("build", image.Build)
			add("source", image.Source.String())
		}
		add("application", c.Application)
		add("configuration", c.Config.String())
		add("record", c.Record)
		if err := g.rows(rows...); err != nil {
			return err
		}
	}
	return nil
}
