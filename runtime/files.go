package runtime

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/runtime/mounts"
)

// files is where the agent keeps pods' files. Names cannot hold an underscore, so the
// directories of different pods never collide.
type files struct{ root string }

func (f files) dir(key types.NamespacedName, uid types.UID) string {
	return filepath.Join(f.root, key.Namespace+"_"+key.Name+"_"+string(uid))
}

// uids lists the pods of that name that have a directory.
func (f files) uids(key types.NamespacedName) ([]types.UID, error) {
	entries, err := f.entries()
	if err != nil {
		return nil, err
	}
	var uids []types.UID
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e, key.Namespace+"_"+key.Name+"_"); ok {
			uids = append(uids, types.UID(rest))
		}
	}
	return uids, nil
}

// keys lists the pods that have a directory.
func (f files) keys() ([]types.NamespacedName, error) {
	entries, err := f.entries()
	var keys []types.NamespacedName
	for _, e := range entries {
		if parts := strings.SplitN(e, "_", 3); len(parts) == 3 {
			keys = append(keys, types.NamespacedName{Namespace: parts[0], Name: parts[1]})
		}
	}
	return keys, err
}

func (f files) entries() ([]string, error) {
	d, err := os.Open(f.root)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// remove takes a pod's directory away, with the mounts below it. It takes no time,
// however much is in there: [files.empty] removes it.
func (f files) remove(key types.NamespacedName, uid types.UID) error {
	dir := f.dir(key, uid)
	if err := mounts.UndoBelow(dir); err != nil {
		return err
	}
	return f.discard(dir)
}

// trash is where what is not wanted any more waits to be removed.
func (f files) trash() string { return filepath.Join(filepath.Dir(f.root), "trash") }

// discard moves a path to the trash; one that is not there is as good.
func (f files) discard(path string) error {
	if err := os.MkdirAll(f.trash(), 0o700); err != nil {
		return err
	}
	err := os.Rename(path, filepath.Join(f.trash(), rand.Text()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// empty removes what is in the trash.
func (f files) empty() error {
	entries, err := os.ReadDir(f.trash())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(f.trash(), e.Name())))
	}
	return errors.Join(errs...)
}

// spent are the folders that a pod needs no more once it has ended.
var spent = []string{"volumes", "subpaths", "etc"}

// leftovers says whether a pod's directory has what only one that runs needs.
func (f files) leftovers(key types.NamespacedName, uid types.UID) (bool, error) {
	entries, err := os.ReadDir(f.dir(key, uid))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(spent, e.Name()) }), err
}

// clear takes away what only a pod that runs needs: its volumes, above all.
func (f files) clear(key types.NamespacedName, uid types.UID) error {
	dir := f.dir(key, uid)
	if err := mounts.UndoBelow(dir); err != nil {
		return err
	}
	for _, name := range spent {
		if err := f.discard(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// writeEtc writes the files of /etc that are the pod's, and returns where they are, by
// their path in the container.
func writeEtc(dir string, pod *corev1.Pod, address, resolver netip.Addr) (map[string]string, error) {
	etc := filepath.Join(dir, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for name, content := range map[string]string{
		"hosts":       hostsFile(pod, address),
		"resolv.conf": resolvConf(pod, resolver, nodeResolver()),
		"hostname":    hostname(pod) + "\n",
	} {
		path := filepath.Join(etc, name)
		paths["/etc/"+name] = path
		if holds(path, content) {
			continue
		}
		// Written in place: containers have the file, not the name, mounted.
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// holds says whether that is what a file holds. Containers write to it: it may be as large
// as they like, and no more of it is read than that.
func holds(path, content string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	old, err := io.ReadAll(io.LimitReader(f, int64(len(content))+1))
	return err == nil && string(old) == content
}

// hostname is the pod's; in the network of its node, the node's.
func hostname(pod *corev1.Pod) string {
	if pod.Spec.HostNetwork {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	name := pod.Spec.Hostname
	if name == "" {
		name = pod.Name
	}
	if len(name) > 63 { // The kernel's limit is 64.
		name = strings.TrimRight(name[:63], "-.")
	}
	return name
}

func hostsFile(pod *corev1.Pod, address netip.Addr) string {
	var b strings.Builder
	if own, err := os.ReadFile("/etc/hosts"); err == nil && pod.Spec.HostNetwork {
		b.Write(append(bytes.TrimRight(own, "\n"), '\n'))
		return b.String() + aliases(pod)
	}
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	name := hostname(pod)
	if pod.Spec.Subdomain != "" {
		name = fmt.Sprintf("%s.%s.%s.svc.cluster.local\t%s", name, pod.Spec.Subdomain, pod.Namespace, name)
	}
	if address.IsValid() {
		fmt.Fprintf(&b, "%s\t%s\n", address, name)
	} else {
		fmt.Fprintf(&b, "127.0.0.1\t%s\n", name)
	}
	return b.String() + aliases(pod)
}

func aliases(pod *corev1.Pod) (text string) {
	for _, a := range pod.Spec.HostAliases {
		text += fmt.Sprintf("%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return text
}

// Clear undoes the mounts below an agent's directory and removes it. It is for after
// an agent that does not run any more, and whose pods do not either.
func Clear(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := mounts.UndoBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
