package rules

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const benchServices = 10000

// benchService is service i with its two endpoints, of which turn changes one.
func benchService(i, turn int) (corev1.Service, corev1.Endpoints) {
	s := service("shop", fmt.Sprint(i), fmt.Sprintf("172.30.%d.%d", i/250, i%250+1), corev1.ServicePort{Port: 80})
	e := endpointsOf("shop", fmt.Sprint(i), []string{fmt.Sprintf("10.128.%d.%d", i/250, (i+turn)%250+1), fmt.Sprintf("10.129.%d.%d", i/250, i%250+1)}, corev1.EndpointPort{Port: 8080})
	return s, e
}

// BenchmarkServices is a full sync of 10,000 services with two endpoints each, and one
// change among them: by our maps, and by a chain per service and endpoint through iptables.
func BenchmarkServices(b *testing.B) {
	b.Run("maps", func(b *testing.B) {
		k, tab := NewKernel(frame("bench")), NewTable()
		b.Cleanup(func() { k.Remove() })
		put := func(i, turn int) {
			s, e := benchService(i, turn)
			tab.Put(s.Name, OfService("host-a", &s, &e))
		}
		for i := range benchServices {
			put(i, 0)
		}
		b.Run("sync", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if err := k.Remove(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := k.Sync(tab); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("change", func(b *testing.B) {
			turn := 0
			for b.Loop() {
				turn++
				put(7, turn)
				if _, err := k.Sync(tab); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("chains", func(b *testing.B) {
		restore := func(text string) {
			cmd := exec.Command("iptables-restore", "--noflush")
			cmd.Stdin = strings.NewReader("*nat\n" + text + "COMMIT\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v %s", err, out)
			}
		}
		b.Cleanup(func() {
			if out, err := exec.Command("iptables", "-t", "nat", "-F").CombinedOutput(); err != nil {
				b.Errorf("%v %s", err, out)
			}
		})
		b.Run("sync", func(b *testing.B) {
			var all strings.Builder
			all.WriteString(":BENCH-SERVICES -\n")
			for i := range benchServices {
				all.WriteString(benchChains(i, 0, true))
			}
			for b.Loop() {
				restore(all.String())
			}
		})
		b.Run("change", func(b *testing.B) {
			turn := 0
			for b.Loop() {
				turn++
				restore(benchChains(7, turn, false))
			}
		})
	})
}

// benchChains is what a proxy with a chain per service and endpoint writes for one service.
func benchChains(i, turn int, jump bool) string {
	s, e := benchService(i, turn)
	var b strings.Builder
	fmt.Fprintf(&b, ":BENCH-SVC-%d -\n:BENCH-SEP-%d-0 -\n:BENCH-SEP-%d-1 -\n", i, i, i)
	if jump {
		fmt.Fprintf(&b, "-A BENCH-SERVICES -d %s/32 -p tcp -m tcp --dport 80 -j BENCH-SVC-%d\n", s.Spec.ClusterIP, i)
	}
	fmt.Fprintf(&b, "-A BENCH-SVC-%d -m statistic --mode random --probability 0.5 -j BENCH-SEP-%d-0\n-A BENCH-SVC-%d -j BENCH-SEP-%d-1\n", i, i, i, i)
	for n, a := range e.Subsets[0].Addresses {
		fmt.Fprintf(&b, "-A BENCH-SEP-%d-%d -p tcp -m tcp -j DNAT --to-destination %s:8080\n", i, n, a.IP)
	}
	return b.String()
}
