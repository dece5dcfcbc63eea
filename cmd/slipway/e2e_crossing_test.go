package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/network/networktest"
	node "slipway.dev/slipway/runtime"
)

// page asks an address for its page, in the network that this goroutine is in.
func page(at string) (string, error) {
	c, err := net.DialTimeout("tcp", at, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	all, err := io.ReadAll(bufio.NewReader(c))
	head, body, _ := strings.Cut(string(all), "\r\n\r\n")
	if err == nil && !strings.Contains(head, " 200 ") {
		err = fmt.Errorf("no page: %q", all)
	}
	return strings.TrimSpace(body), err
}

// inside are the network namespaces of a project's pods, by the names of their nodes.
func (f *fleet) inside(project string) (map[string]networktest.Namespace, error) {
	out := map[string]networktest.Namespace{}
	for i := range f.Hosts {
		h := &f.Hosts[i]
		containers, err := containersOf(h)
		if err != nil {
			return nil, err
		}
		sandbox := ""
		for _, c := range containers {
			if c.project == project && c.kind == string(node.App) && c.status == "running" {
				sandbox = strings.TrimPrefix(c.joins, "container:")
			}
		}
		var ns networktest.Namespace
		for _, c := range containers {
			if c.id == sandbox {
				if ns.PID, err = strconv.Atoi(c.pid); err != nil {
					return nil, err
				}
			}
		}
		out[h.Name] = ns
	}
	return out, nil
}

// crossing checks, from every pod to every other, that they reach each other inside of a project only; and that
// the project's service leads to all its pods, and from no other project to any.
func (f *fleet) crossing() error {
	pods, err := f.pods()
	if err != nil {
		return err
	}
	var services corev1.ServiceList
	if err := f.Get(f.t.Context(), "/api/v1/services", &services); err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	fails := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, fmt.Errorf(format, args...))
	}
	for _, project := range projects {
		inside, err := f.inside(project)
		if err != nil {
			return err
		}
		for at, ns := range inside {
			wg.Go(func() {
				for _, p := range pods {
					var got string
					err := ns.Do(func() (err error) { got, err = page(p.Status.PodIP + ":8080"); return err })
					if want := p.Namespace + "/" + p.Spec.NodeName; p.Namespace == project && got != want {
						fails("%s on %s asks %s: %q, %v", project, at, want, got, err)
					} else if p.Namespace != project && err == nil {
						fails("%s on %s reached %s: %q", project, at, want, got)
					}
				}
				for _, s := range services.Items {
					if slices.Contains(projects, s.Namespace) {
						if err := leads(ns, s.Spec.ClusterIP+":80", s.Namespace == project); err != nil {
							fails("%s on %s asks the service of %s: %w", project, at, s.Namespace, err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// guarded checks that no pod reaches what asks nobody who he is: the API of servers and their etcd.
func (f *fleet) guarded() error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for _, project := range projects {
		inside, err := f.inside(project)
		if err != nil {
			return err
		}
		for at, ns := range inside {
			for i := range f.Hosts {
				for _, port := range []int{2379, 2380, 7080} {
					wg.Go(func() {
						if err := ns.Do(func() error {
							c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", f.Hosts[i].Address, port), time.Second)
							if err == nil {
								c.Close()
							}
							return err
						}); err == nil {
							mu.Lock()
							defer mu.Unlock()
							errs = append(errs, fmt.Errorf("a pod on %s reaches port %d of %s", at, port, f.Hosts[i].Name))
						}
					})
				}
			}
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// leads says whether a service's address leads to a pod on every node, or to none at all.
func leads(ns networktest.Namespace, at string, may bool) error {
	got := map[string]bool{}
	for range 60 {
		var answer string
		err := ns.Do(func() (err error) { answer, err = page(at); return err })
		if !may {
			if err == nil {
				return fmt.Errorf("it answers %q", answer)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if got[answer] = true; len(got) == fleetSize {
			return nil
		}
	}
	return fmt.Errorf("it leads to %v only", slices.Sorted(maps.Keys(got)))
}
