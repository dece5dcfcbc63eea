package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const podsSame = "both answer a TCP connection, Slipway's at its service's address on the node, Docker's at its container's"

// pods measures how soon pods run, and what the agent takes while nothing happens.
func pods(ctx context.Context, e *Env) error {
	dir, err := e.folder("pods")
	if err != nil {
		return err
	}
	h, err := openHost(ctx, dir)
	if err != nil {
		return err
	}
	defer h.close()
	if err := e.oneByOne(ctx, h); err != nil {
		return err
	}
	if err := e.manyAtOnce(ctx, h); err != nil {
		return err
	}
	h.close()
	return e.agentAtRest(ctx)
}

// oneByOne starts one pod at a time, with sandboxes ready and without, and bare containers in turn with them.
func (e *Env) oneByOne(ctx context.Context, h *host) error {
	var warm, cold, bare []float64
	rounds := e.size(e.runs(9)*5, 1)
	take := func(into *[]float64, measure func(context.Context, int) (float64, error)) error {
		took, err := measure(ctx, 1)
		*into = append(*into, took)
		return err
	}
	// The first of each loads what later ones find loaded.
	for _, sandboxes := range []int{-1, 2} {
		if err := h.start(ctx, sandboxes); err != nil {
			return err
		}
		ours := &cold
		if sandboxes > 0 {
			ours = &warm
		}
		for i := range rounds + 1 {
			if i == 1 {
				*ours = nil
			}
			if err := take(ours, h.pods); err != nil {
				return err
			}
			if err := take(&bare, h.bare); err != nil {
				return err
			}
			if err := h.filled(ctx, sandboxes); err != nil {
				return err
			}
		}
	}
	peer := secs(median(bare))
	lines := []Line{
		{What: "pod start, a sandbox ready", Ours: secs(median(warm)), Times: 2,
			Note: fmt.Sprintf("From before the object is stored. The slowest of %d: %s. The pool of sandboxes is filled again between two starts.", len(warm), secs(percentile(warm, 1)))},
		{What: "pod start, no sandbox ready", Ours: secs(median(cold)), Times: 0.87,
			Note: fmt.Sprintf("The target is at most 1.15 times as long. The slowest of %d: %s.", len(cold), secs(percentile(cold, 1)))},
	}
	for _, l := range lines {
		l.PeerName, l.Peer, l.Same = "docker create + start of pause and app", peer, podsSame
		if e.Short {
			l.Times = 0
		}
		e.add(l)
	}
	return nil
}

// manyAtOnce starts many pods in one moment, with as many sandboxes ready as by default.
func (e *Env) manyAtOnce(ctx context.Context, h *host) error {
	n := e.size(atOnce, 3)
	var ours, bare []float64
	for range e.runs(3) {
		if err := h.filled(ctx, 2); err != nil {
			return err
		}
		took, err := h.pods(ctx, n)
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if took, err = h.bare(ctx, n); err != nil {
			return err
		}
		bare = append(bare, took)
	}
	l := Line{What: fmt.Sprintf("%d pods at once, until the last answers", n), Ours: secs(median(ours)),
		PeerName: "docker create + start of as many pairs at once", Peer: secs(median(bare)), Same: podsSame, Times: 0.91,
		Note: "The target is at most 1.1 times as long. Two of Slipway's sandboxes were ready before."}
	if e.Short {
		l.Times = 0
	}
	e.add(l)
	return nil
}

// resting is what a process takes without and with an agent that keeps pods.
type resting struct {
	// Before and After are its memory in bytes.
	Before, After float64
	// Idle and Busy are the processor time, in seconds a second.
	Idle, Busy float64
}

// agentAtRest measures an agent in a process of its own.
func (e *Env) agentAtRest(ctx context.Context) error {
	n := e.size(50, 2)
	dir, err := e.folder("rest")
	if err != nil {
		return err
	}
	var r resting
	if _, err := runSelf(ctx, &r, "agent", dir, strconv.Itoa(n), strconv.Itoa(e.size(60, 1))); err != nil {
		return err
	}
	same := fmt.Sprintf("%d pods with a readiness probe every 10 s are ready all the time", n)
	memory := Line{What: fmt.Sprintf("the agent at rest with %d pods, memory", n), Ours: size(max(r.After-r.Before, 1)), Same: same,
		Note: fmt.Sprintf("What agent, network and service controller add to a process with the embedded live state: proportional share of its pages, %s from %s.", size(r.After), size(r.Before))}
	processor := Line{What: fmt.Sprintf("the agent at rest with %d pods, processor time in a second", n), Ours: secs(max(r.Busy-r.Idle, 1e-6)), Same: same,
		Note: fmt.Sprintf("Of that process, live state included: %s in a second, %s without the agent.", secs(r.Busy), secs(r.Idle))}
	if !e.Short {
		memory.AtMost, processor.AtMost = size(60<<20), secs(0.010)
	}
	e.add(memory)
	e.add(processor)
	return nil
}

func agentChild(ctx context.Context, args []string) (any, error) {
	dir, n, err := dirAndCount(args[:len(args)-1])
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.Atoi(args[len(args)-1])
	if err != nil {
		return nil, err
	}
	h, err := openHost(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer h.close()
	var r resting
	calm := time.Duration(seconds) * time.Second
	r.Idle = processorTime(calm / 2)
	r.Before = float64(shareOf(os.Getpid()))
	if err := h.start(ctx, 2); err != nil {
		return nil, err
	}
	for i := range n {
		pod := h.podOf(fmt.Sprintf("rest-%d", i))
		pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(podPort)}}}
		if err := h.client.Create(ctx, pod); err != nil {
			return nil, err
		}
	}
	if err := h.until(ctx, "all pods are ready", func() (bool, error) { return h.allReady(ctx, n) }); err != nil {
		return nil, err
	}
	time.Sleep(calm / 2) // What the start itself left is done and given back.
	r.Busy = processorTime(calm)
	r.After = float64(shareOf(os.Getpid()))
	if ready, err := h.allReady(ctx, n); err != nil || !ready {
		return nil, fmt.Errorf("not all pods are ready any more (%w)", err)
	}
	return r, nil
}

func (h *host) allReady(ctx context.Context, n int) (bool, error) {
	var list corev1.PodList
	if err := h.client.List(ctx, &list); err != nil {
		return false, err
	}
	ready := 0
	for _, p := range list.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	return ready == n, nil
}

// processorTime is what this process takes in a while, in seconds a second.
func processorTime(during time.Duration) float64 {
	used := func() float64 {
		var u syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	began, before := time.Now(), used()
	time.Sleep(during)
	return (used() - before) / time.Since(began).Seconds()
}
