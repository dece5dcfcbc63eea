// Command enginerun runs a command, such as the tests, with a Docker Engine: the machine's,
// else a private one that is stopped when the command ends. With -install, Debian's packages
// of what the node and its tests call are installed first where they are missing.
//
//	go run ./runtime/engine/enginerun -install go test ./...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"slipway.dev/slipway/runtime/engine"
)

func main() {
	install := flag.Bool("install", false, "install what is missing")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(run(*install, flag.Args()))
}

func run(install bool, args []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	e, err := engine.Ensure(ctx, engine.Options{Install: install, Log: log})
	if err == nil {
		defer func() {
			if err := e.Close(); err != nil {
				log.Error("close the Docker Engine", "error", err)
			}
		}()
		err = engine.EnsureTestTools(ctx, install, log)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.DaemonHost())
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
