package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
)

// The bridge's alias names the file of addresses of the driver that made it, so that two
// drivers of one name, which would take each other's links and rules away, tell
// themselves apart. A driver whose file is gone has nothing to lose.

// owner is the other driver that holds this one's name on the node; empty: none.
func (d *Driver) owner() (string, error) {
	link, err := netlink.LinkByName(d.bridgeName())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("link %s: %w", d.bridgeName(), err)
	}
	alias := link.Attrs().Alias
	if alias == "" || alias == d.mark() {
		return "", nil
	}
	if _, err := os.Stat(alias); err != nil {
		return "", nil
	}
	return filepath.Dir(alias), nil
}

// refuseOther is an error where another driver holds the name.
func (d *Driver) refuseOther() error {
	other, err := d.owner()
	if err == nil && other != "" {
		err = fmt.Errorf("link %s belongs to the instance that keeps its addresses in %s: give this one another name, or take that one down first", d.bridgeName(), other)
	}
	return err
}

// maxAlias is what the kernel keeps of a link's alias (IFALIASZ, less its end).
const maxAlias = 255

// mark is this driver's alias; of a long path, the end.
func (d *Driver) mark() string {
	file, err := filepath.Abs(d.leases.file)
	if err != nil {
		file = d.leases.file
	}
	return file[max(0, len(file)-maxAlias):]
}
