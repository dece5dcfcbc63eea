package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// packages are Debian's names of what a node needs.
var packages = []string{"docker.io", "iptables", "nftables", "busybox-static"}

// tool is a program that is called, and Debian's name of the package that brings it.
type tool struct{ program, pkg string }

var (
	nodeTools = []tool{{"busybox", "busybox-static"}, {"iptables", "iptables"}, {"nft", "nftables"}}
	// testTools are called by tests only: they look at a node as its administrator would,
	// at the API with kubectl, at the dashboard with a browser, they sign as git does, and measure the network.
	testTools = []tool{{"ip", "iproute2"}, {"sysctl", "procps"}, {"kubectl", "kubernetes-client"}, {"chromium", "chromium"},
		{"ssh-keygen", "openssh-client"}, {"gpg", "gnupg"}, {"iperf3", "iperf3"}}
)

// EnsureTools makes sure that the programs which a node calls are there, and with
// install installs those that are not. Otherwise the error says in one sentence what to
// install. A nil log says nothing.
func EnsureTools(ctx context.Context, install bool, log *slog.Logger) error {
	return ensure(ctx, nodeTools, install, log)
}

// EnsureTestTools is [EnsureTools] with the programs that tests call beside them.
func EnsureTestTools(ctx context.Context, install bool, log *slog.Logger) error {
	return ensure(ctx, slices.Concat(nodeTools, testTools), install, log)
}

func ensure(ctx context.Context, tools []tool, install bool, log *slog.Logger) error {
	var lacking []string
	for _, t := range tools {
		if !have(t.program) {
			lacking = append(lacking, t.pkg)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	if !install || os.Geteuid() != 0 || !have("apt-get") {
		return fmt.Errorf("install %s, as root on Debian with `apt-get install %[1]s`", list(lacking))
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return installDebian(ctx, log, lacking...)
}

const policy = "/usr/sbin/policy-rc.d"

// installDebian runs apt-get. On a machine without systemd the packages' init
// scripts are kept from starting daemons that nobody would stop (exit status 101 of
// policy-rc.d means "forbidden": Debian's invoke-rc.d(8)).
func installDebian(ctx context.Context, log *slog.Logger, pkgs ...string) error {
	if !running("/run/systemd/system")() {
		f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		switch {
		case err == nil:
			_, werr := f.WriteString("#!/bin/sh\nexit 101\n")
			defer os.Remove(policy)
			if err := errors.Join(werr, f.Close()); err != nil {
				return fmt.Errorf("write %s: %w", policy, err)
			}
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("forbid daemons during the installation: %w", err)
		}
	}
	log.Info("installing Debian packages", "packages", list(pkgs))
	for _, args := range [][]string{
		{"-q", "update"},
		append([]string{"-q", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends"}, pkgs...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, tail(string(out), 500))
		}
	}
	return nil
}

func list(words []string) string { return strings.Join(words, " ") }

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return s
}
