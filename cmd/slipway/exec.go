package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/execution"
	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
)

// executor runs a command in a container. It reads the data directory, which only the
// machine's administrator can, to prove that it may.
type executor struct {
	server, project, container, dir string
	stdin, tty                      bool
}

func execCommand() *cobra.Command {
	x := &executor{}
	cmd := &cobra.Command{
		Use:     "exec POD -n PROJECT [-c CONTAINER] [-i] [-t] -- COMMAND...",
		Short:   "Run a command in a container, to find out what is wrong with it",
		GroupID: "run",
		Long: `Run a command in a container, to find out what is wrong with it.

It runs as the container's own user, within its limits, and ends with this command. What it
changes git does not know, and the next restart of the container undoes: the pod has an event
"Exec" about it. It works on the machine that the server runs on, for who can read the server's
data directory.`,
		Example: "  slipway exec web-1-x7k2p -n shop -- cat /etc/resolv.conf\n  slipway exec web-1-x7k2p -n shop -it -- sh",
		Args:    cobra.MinimumNArgs(2),
		RunE:    x.run,
	}
	read.ServerFlag(cmd, &x.server)
	dataDirFlag(cmd, &x.dir)
	f := cmd.Flags()
	f.StringVarP(&x.project, "project", "n", os.Getenv("SLIPWAY_PROJECT"), "project of the pod (environment: SLIPWAY_PROJECT)")
	f.StringVar(&x.project, "namespace", x.project, "same as --project")
	_ = f.MarkHidden("namespace")
	f.StringVarP(&x.container, "container", "c", "", "container of the pod (default: the first)")
	f.BoolVarP(&x.stdin, "stdin", "i", false, "hand on what is typed")
	f.BoolVarP(&x.tty, "tty", "t", false, "give it a terminal")
	f.SetInterspersed(true)
	return cmd
}

func (x *executor) run(cmd *cobra.Command, args []string) error {
	if x.project == "" {
		return errors.New("-n PROJECT: whose pod is it?")
	}
	token, err := server.ExecToken(cmp.Or(read.TokenFile(cmd), server.ExecTokenFile(x.dir)))
	if err != nil {
		return err
	}
	pod := strings.TrimPrefix(strings.TrimPrefix(args[0], "pods/"), "pod/")
	target, err := url.Parse(strings.TrimSuffix(x.server, "/") + "/slipway/v1/exec/" + url.PathEscape(x.project) + "/" + url.PathEscape(pod))
	if err != nil {
		return err
	}
	if target.Scheme != "http" || target.Port() == "" {
		return errors.New("--server " + x.server + ": want http://HOST:PORT of a server on this machine")
	}
	conn, err := new(net.Dialer).DialContext(cmd.Context(), "tcp", target.Host)
	if err != nil {
		return read.NoAnswer(x.server, err)
	}
	e := api.Exec{Container: x.container, Command: args[1:], TTY: x.tty, Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()}
	if x.stdin {
		e.Stdin = cmd.InOrStdin()
	}
	if x.tty {
		restore, err := terminal(cmd.Context(), e.Stdin, &e)
		if err != nil {
			return err
		}
		defer restore()
	}
	code, err := execution.Call(cmd.Context(), conn, target, http.Header{"Authorization": {"Bearer " + token}}, e)
	if err == nil && code != 0 {
		err = exitCode(code)
	}
	return err
}

// terminal has this process's terminal hand on every key as it is, and its size; where
// there is none there is nothing to do.
func terminal(ctx context.Context, in io.Reader, e *api.Exec) (restore func(), err error) {
	f, ok := in.(*os.File)
	if !ok {
		return func() {}, nil
	}
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}, nil
	}
	raw := *before
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	sizes, changed := make(chan api.TerminalSize, 1), make(chan os.Signal, 1)
	e.Sizes = sizes
	signal.Notify(changed, syscall.SIGWINCH)
	changed <- syscall.SIGWINCH
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				if s, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
					sizes <- api.TerminalSize{Width: s.Col, Height: s.Row}
				}
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, before)
	}, nil
}
