package reconciler

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// fewAlone is how many pieces of work of microseconds are done faster alone.
const fewAlone = 64

// onAllCores calls do for every number below n, on all cores.
func onAllCores(n int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/fewAlone)
	if workers < 2 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				start := int(next.Add(fewAlone)) - fewAlone
				if start >= n {
					return
				}
				for i := start; i < min(start+fewAlone, n); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}
