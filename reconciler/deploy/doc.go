// Package deploy runs what DeploymentConfigs describe: DeploymentConfig →
// ReplicationController → Pod, with OpenShift 3's rules.
//
// Two controllers do it. One keeps every ReplicationController at its number of
// pods. The other is handed a DeploymentConfig and does everything else: triggers
// and versions, rollouts, automatic rollback, history and status.
//
// A rollout is not a process. Where it stands is in live state, in annotations and
// in spec.replicas of the ReplicationControllers that take part:
//
//	openshift.io/deployment.phase   New → Pending → Running → Complete | Failed
//	slipway.dev/rollout-started     when it became Running
//	slipway.dev/rollout-scaled      when a rollout last changed this one's replicas
//	slipway.dev/hook-pre|mid|post   when that hook was over
//	slipway.dev/hook-deploy         when a Custom strategy's pod had succeeded
//
// so that any process may take it over at any line: Step is handed what is there
// and says what comes next. OpenShift's deployer pods exist for Custom strategies
// only. intervalSeconds has no effect: nothing is polled, watches wake the rollout.
package deploy
