package api

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"slipway.dev/slipway/api/v1alpha1"
)

const (
	// packedFrom is how many entries an inventory has before it is packed. Etcd takes values
	// of up to 1.5 MiB; as a plain list 20,000 objects would be more.
	packedFrom = 250
	// maxInventory bounds what a packed inventory may unfold to, in bytes.
	maxInventory = 256 << 20
)

// Inventory is what an Application owns, however its status keeps it.
func Inventory(s *v1alpha1.ApplicationStatus) ([]v1alpha1.InventoryEntry, error) {
	if s.PackedInventory == "" {
		return s.Inventory, nil
	}
	data, err := base64.StdEncoding.DecodeString(s.PackedInventory)
	if err != nil {
		return nil, fmt.Errorf("packedInventory: %w", err)
	}
	r := flate.NewReader(bytes.NewReader(data))
	limited := &io.LimitedReader{R: r, N: maxInventory}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, 4<<10)
	out := append([]v1alpha1.InventoryEntry(nil), s.Inventory...)
	for lines.Scan() {
		version, id, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return nil, errors.New("packedInventory: a line is not a version and an id")
		}
		out = append(out, v1alpha1.InventoryEntry{ID: id, Version: version})
	}
	if limited.N <= 0 {
		return nil, errors.New("packedInventory: it is too long to be one")
	}
	if err := errors.Join(lines.Err(), r.Close()); err != nil {
		return nil, fmt.Errorf("packedInventory: %w", err)
	}
	return out, nil
}

// SetInventory writes down what an Application owns, packed where it is long.
func SetInventory(s *v1alpha1.ApplicationStatus, entries []v1alpha1.InventoryEntry) {
	s.Inventory, s.PackedInventory = entries, ""
	if len(entries) < packedFrom {
		return
	}
	var b strings.Builder
	encoder := base64.NewEncoder(base64.StdEncoding, &b)
	w, err := flate.NewWriter(encoder, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	for _, e := range entries {
		fmt.Fprintf(w, "%s %s\n", e.Version, e.ID)
	}
	// Writing to memory does not fail.
	_, _ = w.Close(), encoder.Close()
	s.Inventory, s.PackedInventory = nil, b.String()
}
