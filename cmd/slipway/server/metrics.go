package server

import (
	"context"
	"errors"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/measured"
)

// metrics are what nodes and their pods use: this server's own, and those that joined.
type metrics struct{ s *server }

func (m metrics) PodMetrics(ctx context.Context) ([]api.PodMetrics, error) {
	own, err := measured.Pods(ctx, m.s.parts.agent)
	others, farErr := m.s.far.pods(ctx)
	return append(own, others...), errors.Join(err, farErr)
}

func (m metrics) NodeMetrics(ctx context.Context) ([]api.NodeMetrics, error) {
	own, err := measured.Node(ctx, m.s.parts.agent)
	if err != nil {
		return nil, err
	}
	others, err := m.s.far.nodes(ctx)
	return append([]api.NodeMetrics{own}, others...), err
}
