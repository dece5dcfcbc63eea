// Package autoscale runs HorizontalPodAutoscalers: every 15 seconds it compares what the
// pods of a target use with what they should, and scales the target, by Kubernetes' rules.
//
// The arithmetic is pure: Recommend says how many pods would bring the usage to its target,
// Limit how far one step may go and how long a higher recommendation of before still holds.
// Recommendations and steps of the last minutes are in memory, as in Kubernetes; a process
// that takes over begins with what runs, so that nothing shrinks for a lack of memory.
package autoscale
