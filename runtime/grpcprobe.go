package runtime

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
)

// askGRPC asks a container by the gRPC health checking protocol; any answer other than
// SERVING is an error.
func (a *Agent) askGRPC(ctx context.Context, pod *corev1.Pod, sandboxPID int, g *corev1.GRPCAction) error {
	var address netip.Addr
	a.remember(pod.UID, func(m *memory) { address = m.address })
	d := dialer{address, sandboxPID}
	port := strconv.Itoa(int(g.Port))
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(d.host(), port),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("slipway-probe"), grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return d.dial(ctx, port) }))
	if err != nil {
		return err
	}
	defer conn.Close()
	service := ""
	if g.Service != nil {
		service = *g.Service
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service}, grpc.MaxCallRecvMsgSize(outputLimit))
	if err != nil {
		return fmt.Errorf("gRPC health of service %q: %w", service, err)
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("gRPC health of service %q: %s", service, answer.Status)
	}
	return nil
}
