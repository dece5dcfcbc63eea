package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// indexes is a set of completion indexes.
type indexes map[int]bool

// parseIndexes reads what [indexes.String] writes, such as "0,2-4,7". Indexes of limit and
// above are left out, and so is what cannot be read.
func parseIndexes(text string, limit int) indexes {
	all := indexes{}
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil || from < 0 {
			continue
		}
		to := from
		if ranged {
			if to, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		for i := from; i <= to && i < limit; i++ {
			all[i] = true
		}
	}
	return all
}

// String writes the set as Kubernetes does: in order, three and more in a row as a range.
func (all indexes) String() string {
	sorted := make([]int, 0, len(all))
	for i := range all {
		sorted = append(sorted, i)
	}
	slices.Sort(sorted)
	var parts []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		switch j - i {
		case 0:
			parts = append(parts, strconv.Itoa(sorted[i]))
		case 1:
			parts = append(parts, strconv.Itoa(sorted[i]), strconv.Itoa(sorted[j]))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", sorted[i], sorted[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
