package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"slipway.dev/slipway/bench/workload"
)

// held is the memory of a server before and after it has so many objects.
type held struct {
	Before, After float64
}

// memoryPerObject measures a server of its own.
func memoryPerObject(ctx context.Context, e *Env) error {
	n := e.size(2500, 20)
	dir, err := e.folder("memory")
	if err != nil {
		return err
	}
	var h held
	if _, err := runSelf(ctx, &h, "memory", dir, strconv.Itoa(n)); err != nil {
		return err
	}
	objects := float64(n * workload.PerApplication)
	l := Line{What: "memory for a live object, of " + objectsOf(n), Ours: size((h.After - h.Before) / objects),
		Same: "all are live and their applications ready",
		Note: fmt.Sprintf("Resident memory of the process, the embedded etcd and the mapped database included, 20 s after the last became ready: %s, from %s without them. The render children, which are idle then, are not in it.", size(h.After), size(h.Before))}
	if !e.Short {
		l.AtMost = size(60 << 10)
	}
	e.add(l)
	return nil
}

func memoryChild(ctx context.Context, args []string) (any, error) {
	dir, n, err := dirAndCount(args)
	if err != nil {
		return nil, err
	}
	s, err := openSystem(ctx, dir, workload.Jsonnet(n), workloads)
	if err != nil {
		return nil, err
	}
	defer s.close()
	h := held{Before: float64(residentOf(os.Getpid()))}
	if err := s.applications(ctx, n); err != nil {
		return nil, err
	}
	if n > 100 {
		time.Sleep(20 * time.Second)
	}
	h.After = float64(residentOf(os.Getpid()))
	return h, nil
}
