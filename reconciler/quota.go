package reconciler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	kappsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// quotas compares what a project would use after the plan with its quotas. What is counted
// is what is asked for when everything is rolled out: replicas times what a pod requests, and
// the number of objects; pods that a rollout starts beside the old ones are not. Quotas
// with scopes are left to whoever enforces them.
func (l *neighbours) quotas(ctx context.Context, plan *Plan) error {
	for _, ns := range touchedProjects(plan) {
		hard, err := l.hardLimits(ctx, plan, ns)
		if err != nil {
			return err
		}
		if len(hard) == 0 {
			continue
		}
		before, err := l.usage(ctx, ns, hard)
		if err != nil {
			return err
		}
		plan.addQuota(ns, hard, before)
	}
	return nil
}

// quotaKinds are the kinds whose objects use something of a quota, by what they are counted as.
var quotaKinds = map[string]corev1.ResourceName{
	"DeploymentConfig": "", "Deployment": "", "ReplicaSet": "", "StatefulSet": "", "Pod": "", "ReplicationController": corev1.ResourceReplicationControllers,
	"ConfigMap": corev1.ResourceConfigMaps, "Secret": corev1.ResourceSecrets, "Service": corev1.ResourceServices,
	"PersistentVolumeClaim": corev1.ResourcePersistentVolumeClaims, "ImageStream": "openshift.io/imagestreams",
}

func touchedProjects(plan *Plan) []string {
	var out []string
	for _, s := range plan.Steps {
		_, counts := quotaKinds[s.desired.GetKind()]
		if ns := s.desired.GetNamespace(); ns != "" && (counts || s.desired.GetKind() == "ResourceQuota") && !slices.Contains(out, ns) {
			out = append(out, ns)
		}
	}
	return out
}

// limit is one quota's word on one resource.
type limit struct {
	quota    string
	resource corev1.ResourceName
	hard     resource.Quantity
}

func (l *neighbours) hardLimits(ctx context.Context, plan *Plan, ns string) ([]limit, error) {
	var live corev1.ResourceQuotaList
	if err := l.client.List(ctx, &live, client.InNamespace(ns)); err != nil {
		return nil, fmt.Errorf("read the quotas of %s: %w", ns, err)
	}
	quotas := map[string]corev1.ResourceQuota{}
	for _, q := range live.Items {
		quotas[q.Name] = q
	}
	for _, s := range plan.Steps {
		if s.desired.GetKind() != "ResourceQuota" || s.desired.GetNamespace() != ns {
			continue
		}
		delete(quotas, s.desired.GetName())
		if s.Action != Prune {
			var q corev1.ResourceQuota
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(s.desired.Object, &q); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Object, err)
			}
			quotas[q.Name] = q
		}
	}
	var out []limit
	for _, name := range slices.Sorted(maps.Keys(quotas)) {
		q := quotas[name]
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue
		}
		for _, r := range slices.Sorted(maps.Keys(q.Spec.Hard)) {
			out = append(out, limit{name, r, q.Spec.Hard[r]})
		}
	}
	return out, nil
}

// usage is what the objects of a project ask for now.
func (l *neighbours) usage(ctx context.Context, ns string, hard []limit) (corev1.ResourceList, error) {
	used := corev1.ResourceList{}
	for kind, counted := range quotaKinds {
		if counted != "" && kind != "PersistentVolumeClaim" && kind != "ReplicationController" && !slices.ContainsFunc(hard, func(h limit) bool {
			return strings.HasSuffix(string(h.resource), strings.TrimPrefix(string(counted), "openshift.io/"))
		}) {
			// Nobody limits it; Secrets, for one, are not read for nothing.
			continue
		}
		k, _ := api.KindNamed(kind)
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(k.GroupVersionKind.GroupVersion().WithKind(k.Kind + "List"))
		if err := l.client.List(ctx, list, client.InNamespace(ns)); err != nil {
			return nil, fmt.Errorf("read the %s of %s: %w", k.Resource, ns, err)
		}
		for i := range list.Items {
			list.Items[i].SetGroupVersionKind(k.GroupVersionKind)
			amountsOf(&list.Items[i]).addTo(used, 1)
		}
	}
	return used, nil
}

// addQuota adds to a plan what it makes of a project's quotas.
func (p *Plan) addQuota(ns string, hard []limit, before corev1.ResourceList) {
	after := before.DeepCopy()
	for _, s := range p.Steps {
		if s.desired.GetNamespace() != ns {
			continue
		}
		if s.live != nil {
			amountsOf(s.live).addTo(after, -1)
		}
		if s.Action != Prune {
			amountsOf(s.asked()).addTo(after, 1)
		}
	}
	for _, h := range hard {
		was, now := before[h.resource], after[h.resource]
		if was.Cmp(now) == 0 && now.Cmp(h.hard) <= 0 {
			continue
		}
		p.Consequences = append(p.Consequences, fmt.Sprintf("uses %s of %s in %s instead of %s, of %s that quota %s allows", &now, h.resource, ns, &was, &h.hard, h.quota))
		if now.Cmp(h.hard) > 0 && now.Cmp(was) > 0 {
			p.Problems = append(p.Problems, p.overQuota(ns, h, was, now))
		}
	}
}

// overQuota names the first object of the plan that asks for more.
func (p *Plan) overQuota(ns string, h limit, was, now resource.Quantity) api.Problem {
	out := api.Problem{
		File: p.Path, Object: ns + "/resourcequota/" + h.quota,
		Message: fmt.Sprintf("would use %s of %s, and %s is allowed (now: %s)", &now, h.resource, &h.hard, &was),
	}
	for _, s := range p.Steps {
		if s.Action == Prune || s.desired.GetNamespace() != ns {
			continue
		}
		more := amountsOf(s.asked())[h.resource]
		if s.live != nil {
			old := amountsOf(s.live)[h.resource]
			more.Sub(old)
		}
		if more.Sign() > 0 {
			out.File, out.Line, out.Via, out.Object = s.File, s.Line, s.Via, s.Object
			out.Message = "quota " + h.quota + ": " + out.Message
			return out
		}
	}
	return out
}

// asked is the desired object with the number of pods that git leaves to others.
func (s Step) asked() *unstructured.Unstructured {
	kind := s.desired.GetKind()
	if _, named := at(s.desired.Object, []string{"spec", "replicas"}); named || kind != "DeploymentConfig" && kind != "Deployment" && kind != "StatefulSet" {
		return s.desired
	}
	o := s.desired.DeepCopy()
	replicas := any(int64(1))
	if s.live != nil {
		if now, ok := at(s.live.Object, []string{"spec", "replicas"}); ok {
			replicas = now
		}
	}
	_ = unstructured.SetNestedField(o.Object, replicas, "spec", "replicas")
	return o
}

type amounts corev1.ResourceList

func (a amounts) addTo(list corev1.ResourceList, times int64) {
	for name, q := range a {
		sum := list[name]
		if times < 0 {
			sum.Sub(q)
		} else {
			sum.Add(q)
		}
		list[name] = sum
	}
}

func (a amounts) add(name corev1.ResourceName, n int64) {
	q := a[name]
	q.Add(*resource.NewQuantity(n, resource.DecimalSI))
	a[name] = q
}

// amountsOf is what one object asks for. A pod that a controller owns is counted with the
// controller, one that has ended not at all.
func amountsOf(o *unstructured.Unstructured) amounts {
	out := amounts{}
	owned := slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.Controller != nil && *r.Controller })
	switch kind := o.GetKind(); kind {
	case "DeploymentConfig":
		var dc appsv1.DeploymentConfig
		if convert(o, &dc) && dc.Spec.Template != nil {
			out.addPods(&dc.Spec.Template.Spec, int64(dc.Spec.Replicas))
		}
	case "Deployment", "ReplicaSet", "StatefulSet":
		var set kappsv1.Deployment
		if convert(o, &set) && !owned {
			out.addPods(&set.Spec.Template.Spec, replicas(o))
		}
	case "ReplicationController":
		var rc corev1.ReplicationController
		if convert(o, &rc) && rc.Spec.Template != nil && rc.Spec.Replicas != nil && !owned {
			out.addPods(&rc.Spec.Template.Spec, int64(*rc.Spec.Replicas))
		}
	case "Pod":
		var pod corev1.Pod
		if convert(o, &pod) && !owned && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			out.addPods(&pod.Spec, 1)
		}
	case "PersistentVolumeClaim":
		var claim corev1.PersistentVolumeClaim
		if convert(o, &claim) {
			out[corev1.ResourceRequestsStorage] = claim.Spec.Resources.Requests[corev1.ResourceStorage]
		}
	}
	if name := quotaKinds[o.GetKind()]; name != "" {
		out.add(name, 1)
		out.add(corev1.ResourceName("count/"+strings.TrimPrefix(string(name), "openshift.io/")), 1)
	}
	return out
}

func convert(o *unstructured.Unstructured, into any) bool {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into) == nil
}

// addPods adds what n pods of a spec ask for. Where a container names a limit only, that is
// what it requests.
func (a amounts) addPods(spec *corev1.PodSpec, n int64) {
	a.add(corev1.ResourcePods, n)
	for _, c := range spec.Containers {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, limited := c.Resources.Limits[name]
			request, asked := c.Resources.Requests[name]
			if !asked {
				request, asked = limit, limited
			}
			if asked {
				a.times(name, request, n)
				a.times("requests."+name, request, n)
			}
			if limited {
				a.times("limits."+name, limit, n)
			}
		}
	}
}

func (a amounts) times(name corev1.ResourceName, q resource.Quantity, n int64) {
	q = q.DeepCopy()
	q.Mul(n)
	sum := a[name]
	sum.Add(q)
	a[name] = sum
}
