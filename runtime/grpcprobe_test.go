package runtime

import (
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestAGRPCProbeAsksForTheServicesHealth(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	status := health.NewServer()
	status.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, status)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	a := &Agent{memories: map[types.UID]*memory{}}
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	ask := func(service string) error {
		// This process stands for a pod without an address: its network is entered.
		return a.askGRPC(t.Context(), &corev1.Pod{}, os.Getpid(), &corev1.GRPCAction{Port: port, Service: &service})
	}
	if err := ask(""); err != nil {
		t.Errorf("the server serves: %v", err)
	}
	if ask("shop") == nil || ask("unknown") == nil {
		t.Error("a service that does not serve passes")
	}
	status.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_SERVING)
	if err := ask("shop"); err != nil {
		t.Errorf("the service serves: %v", err)
	}
}

func TestTheMainThreadKeepsItsNamespaces(t *testing.T) {
	t.Parallel()
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != before {
		t.Errorf("the process is in %s, then in %s, %v", before, after, err)
	}
}
