package table

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

func gitRepositoryCells(r *v1alpha1.GitRepository, now time.Time) []any {
	ready, message := Ready(r.Status.Conditions)
	revision := ""
	if a := r.Status.Artifact; a != nil {
		branch, _, _ := strings.Cut(a.Revision, "@")
		revision = branch + "@" + Short(a.Commit)
	}
	return []any{r.Name, r.Spec.URL, ready, revision, age(r.CreationTimestamp, now), firstLine(message)}
}

func applicationCells(a *v1alpha1.Application, now time.Time) []any {
	ready, message := Ready(a.Status.Conditions)
	if a.Spec.Suspend {
		ready = "Suspended"
	}
	return []any{
		a.Name, Short(a.Status.LastAppliedCommit), ready, firstLine(message), age(a.CreationTimestamp, now),
		a.Spec.SourceRef.Name, cmp.Or(a.Spec.Path, "."), a.Spec.Project,
	}
}

func promotionCells(p *v1alpha1.Promotion, now time.Time) []any {
	ready, message := Ready(p.Status.Conditions)
	return []any{p.Name, p.Spec.From, p.Status.LastTag, Short(p.Status.Commit), ready, age(p.CreationTimestamp, now), firstLine(message)}
}

func recordCells(r *v1alpha1.Record, now time.Time) []any {
	s := r.Spec
	return []any{
		r.Name, s.Application, Short(s.Commit), s.Outcome, s.Reason, RecordChanges(&s), age(r.CreationTimestamp, now),
		s.Author, firstLine(s.Message),
	}
}

// RecordChanges counts what was created, changed and pruned: `+2 ~1 -0`.
func RecordChanges(s *v1alpha1.RecordSpec) string {
	return fmt.Sprintf("+%d ~%d -%d", s.Created, s.Changed, s.Pruned)
}

// Ready is the status and message of the condition Ready; Unknown if there is none yet.
func Ready(conditions []metav1.Condition) (status, message string) {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return string(c.Status), c.Message
		}
	}
	return "Unknown", ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
