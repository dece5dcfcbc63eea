package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	nfsPort = "2049"
	// nfsPatience is how long a server may take to answer at all. The kernel itself would wait
	// for minutes.
	nfsPatience = 10 * time.Second
)

// nfsVersions are tried in this order where a volume's options name none.
var nfsVersions = []string{"vers=4.2", "vers=4.1", "vers=4.0", "vers=3,nolock,proto=tcp,mountproto=tcp"}

// mountNFS has the kernel mount an export at path.
func mountNFS(ctx context.Context, s *corev1.NFSVolumeSource, options []string, path string, reads bool) error {
	ctx, cancel := context.WithTimeout(ctx, nfsPatience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.Server, nfsPort))
	if err != nil {
		return fmt.Errorf("NFS server %s cannot be reached: %w", s.Server, err)
	}
	server, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	own, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	if err := conn.Close(); err != nil {
		return err
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if reads {
		flags |= syscall.MS_RDONLY
	}
	versions := nfsVersions
	if slices.ContainsFunc(options, func(o string) bool {
		return strings.HasPrefix(o, "vers=") || strings.HasPrefix(o, "nfsvers=") || o == "v3" || strings.HasPrefix(o, "v4")
	}) {
		versions = []string{""}
	}
	for _, version := range versions {
		data := nfsData(server, own, version, options)
		err = syscall.Mount(nfsDevice(s), path, "nfs", flags, data)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EPROTONOSUPPORT) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EOPNOTSUPP) {
			break
		}
	}
	if errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("mount %s: this node's kernel has no NFS client", nfsDevice(s))
	}
	return fmt.Errorf("mount %s: %w", nfsDevice(s), err)
}

func nfsDevice(s *corev1.NFSVolumeSource) string {
	if strings.Contains(s.Server, ":") {
		return "[" + s.Server + "]:" + s.Path
	}
	return s.Server + ":" + s.Path
}

func nfsData(server, own, version string, options []string) string {
	all := []string{"addr=" + server}
	if !strings.HasPrefix(version, "vers=3") && !slices.Contains(options, "vers=3") && !slices.Contains(options, "nfsvers=3") && !slices.Contains(options, "v3") {
		all = append(all, "clientaddr="+own)
	}
	if version != "" {
		all = append(all, version)
	}
	return strings.Join(append(all, options...), ",")
}
