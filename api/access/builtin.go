package access

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"slipway.dev/slipway/api"
)

// ImagePuller is the role that lets another project pull a project's images.
const ImagePuller = "system:image-puller"

const imageGroup = "image.openshift.io"

var (
	reads  = []string{"get", "list", "watch"}
	writes = []string{"create", "update", "patch", "delete", "deletecollection"}
)

// builtin are the roles that OpenShift brings along. Admin has everything of a project,
// edit all but its policy, view reads all but secrets and policy.
var builtin = map[string][]rbacv1.PolicyRule{
	"cluster-admin": {{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}, {Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}},
	"admin": slices.Concat(projectRules(slices.Concat(reads, writes), isPolicy, isSecret, isWork), projectRules(reads, isFixed, isMade), []rbacv1.PolicyRule{pullAndPush,
		{Verbs: []string{"get", "update", "patch", "delete"}, APIGroups: []string{"project.openshift.io"}, Resources: []string{"projects"}}}),
	"edit":                 slices.Concat(projectRules(slices.Concat(reads, writes), isSecret, isWork), projectRules(reads, isFixed, isMade), []rbacv1.PolicyRule{pullAndPush}),
	"view":                 projectRules(reads, isWork, isFixed, isMade),
	ImagePuller:            {pull},
	"system:image-pusher":  {pullAndPush},
	"system:image-builder": {pullAndPush, {Verbs: []string{"create"}, APIGroups: []string{imageGroup}, Resources: []string{"imagestreams"}}, {Verbs: []string{"get", "update"}, APIGroups: []string{"build.openshift.io"}, Resources: []string{"builds", "builds/details"}}},
	"system:deployer": {
		{Verbs: []string{"get", "list", "update", "patch"}, APIGroups: []string{""}, Resources: []string{"replicationcontrollers"}},
		{Verbs: []string{"get", "list", "watch", "create"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}},
		{Verbs: []string{"create", "list"}, APIGroups: []string{""}, Resources: []string{"events"}},
		{Verbs: []string{"update", "create"}, APIGroups: []string{imageGroup}, Resources: []string{"imagestreamtags"}},
	},
}

var (
	pull        = rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{imageGroup}, Resources: []string{"imagestreams/layers"}}
	pullAndPush = rbacv1.PolicyRule{Verbs: []string{"get", "update"}, APIGroups: []string{imageGroup}, Resources: []string{"imagestreams/layers"}}
)

// BuiltIn lists the names of the roles that need not be declared.
func BuiltIn() []string {
	var names []string
	for name := range builtin {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// What a project holds: its policy, its secrets, what is set for it from above, what
// controllers make, and the rest.
func isPolicy(k api.Kind) bool { return k.Group == rbacv1.GroupName || k.Kind == "ServiceAccount" }
func isSecret(k api.Kind) bool { return k.Sealed && !k.Runtime }
func isFixed(k api.Kind) bool {
	return k.Kind == "ResourceQuota" || k.Kind == "LimitRange" || k.Kind == "EgressNetworkPolicy"
}
func isMade(k api.Kind) bool { return k.Runtime && !k.Sealed }
func isWork(k api.Kind) bool {
	return !isPolicy(k) && !isSecret(k) && !isFixed(k) && !k.Runtime
}

// projectRules is a rule for each group of the kinds of a project that one of the classes has.
func projectRules(verbs []string, classes ...func(api.Kind) bool) []rbacv1.PolicyRule {
	byGroup := map[string][]string{}
	var groups []string
	for _, k := range api.Kinds() {
		if !k.Namespaced || !slices.ContainsFunc(classes, func(is func(api.Kind) bool) bool { return is(k) }) {
			continue
		}
		if byGroup[k.Group] == nil {
			groups = append(groups, k.Group)
		}
		byGroup[k.Group] = append(byGroup[k.Group], k.Resource)
	}
	var rules []rbacv1.PolicyRule
	for _, g := range groups {
		rules = append(rules, rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{g}, Resources: byGroup[g]})
	}
	return rules
}
