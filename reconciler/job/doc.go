// Package job runs Jobs and CronJobs: Job → Pod, CronJob → Job.
//
// [Decide] is the decision for a Job, over the Job and its pods. Each pod of a Job ends and
// is counted once, also where a process dies at any line: a pod carries a finalizer until the
// Job's status says, by the pod's uid, that it has ended; the finalizer goes; and only when it is
// gone the uid becomes a number (Kubernetes' protocol, status.uncountedTerminatedPods). Names of
// pods follow from the Job's uid, so that two servers that decide at once make the same pod.
//
// [DecideCron] is the decision for a CronJob. A run's name follows from the minute for which it
// was scheduled, and neither history limits nor time to live remove a run before the status says
// that it was started: no crash starts one twice.
package job
