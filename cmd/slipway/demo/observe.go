package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// page asks the router for a host's page, as a browser would.
func (s *story) page(ctx context.Context, host, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback(s.server.ports.router)+path, nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return string(body), fmt.Errorf("%s answered %s", host, res.Status)
	}
	return string(body), nil
}

// get reads an object, or a list, from the API.
func (s *story) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.url()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 2000))
		return fmt.Errorf("GET %s: %s: %s", path, res.Status, body)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// errNever says that a condition will not hold any more.
var errNever = errors.New("for good")

// until waits for a condition that is looked at from outside; the last reason why it
// does not hold is the error.
func until(ctx context.Context, what string, holds func() error) error {
	var last error
	for {
		if last = holds(); last == nil {
			return nil
		}
		if errors.Is(last, errNever) {
			return fmt.Errorf("%s: %w", what, last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// caller keeps asking for a page, from several connections, and counts what fails.
type caller struct {
	requests, failures atomic.Int64
	mu                 sync.Mutex
	// first failure seen, for the report; guarded by mu.
	firstFailure string
	stop         context.CancelFunc
	done         sync.WaitGroup
}

// keepCalling starts clients that ask for a page until stopped. An answer counts as
// failed if it is not 200 or not what ok accepts.
func (s *story) keepCalling(ctx context.Context, host string, clients int, ok func(body string) bool) *caller {
	ctx, stop := context.WithCancel(ctx)
	c := &caller{stop: stop}
	for range clients {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, MaxIdleConnsPerHost: 1,
		}}
		c.done.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				c.call(ctx, client, "http://"+loopback(s.server.ports.router)+"/", host, ok)
			}
		})
	}
	return c
}

func (c *caller) call(ctx context.Context, client *http.Client, url, host string, ok func(string) bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	req.Host = host
	res, err := client.Do(req)
	if ctx.Err() != nil {
		return
	}
	c.requests.Add(1)
	if err != nil {
		c.fail(err.Error())
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.fail(err.Error())
	case res.StatusCode != http.StatusOK || !ok(string(body)):
		c.fail(fmt.Sprintf("%s: %.200s", res.Status, body))
	}
}

func (c *caller) fail(why string) {
	c.failures.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.firstFailure == "" {
		c.firstFailure = why
	}
}

// end stops the clients and answers with how many requests were made and failed.
func (c *caller) end() (requests, failures int, first string) {
	c.stop()
	c.done.Wait()
	return int(c.requests.Load()), int(c.failures.Load()), c.firstFailure
}
