package constraints

import (
	"errors"
	"slices"
	"strings"
	"testing"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/access"
)

// podOf is a pod of project shop, of its spec in YAML.
func podOf(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	if len(p.Spec.Containers) == 0 {
		p.Spec.Containers = []corev1.Container{{Name: "c"}}
	}
	return p
}

func declared(t *testing.T, text string) []securityv1.SecurityContextConstraints {
	t.Helper()
	var all []securityv1.SecurityContextConstraints
	if err := yaml.UnmarshalStrict([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		c := &all[i]
		if c.RunAsUser.Type == "" {
			c.RunAsUser.Type = securityv1.RunAsUserStrategyRunAsAny
		}
		if c.SELinuxContext.Type == "" {
			c.SELinuxContext.Type = securityv1.SELinuxStrategyRunAsAny
		}
		api.Default(c)
		if errs := api.Validate(c); len(errs) > 0 {
			t.Fatal(errs)
		}
	}
	return all
}

var ranges = map[string]string{api.UIDRangeAnnotation: "1000050000/10000", api.SupplementalGroupsAnnotation: "1000050000/10000"}

func ask(pod *corev1.Pod, all []securityv1.SecurityContextConstraints, p access.Policy) (*corev1.Pod, error) {
	return Question{
		Pod: pod, Declared: all, Project: func() (map[string]string, error) { return ranges, nil },
		Access: func() (access.Policy, error) { return p, nil },
	}.Answer()
}

// granted lets service account agent of project shop use constraints, by a role and a binding of the project.
func granted(name string) access.Policy {
	return access.Policy{
		Roles: []rbacv1.Role{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "use"}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"use"}, APIGroups: []string{"security.openshift.io"}, Resources: []string{"securitycontextconstraints"}, ResourceNames: []string{name}},
		}}},
		RoleBindings: []rbacv1.RoleBinding{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "use"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "use"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "agent"}},
		}},
	}
}

func TestTheOrderIsOpenShifts(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range All(declared(t, "[{metadata: {name: first}, priority: 11}, {metadata: {name: hostaccess}, allowHostPorts: true}]")) {
		names = append(names, c.Name)
	}
	want := "first anyuid restricted nonroot hostmount-anyuid hostaccess hostnetwork privileged"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestWhatEachBuiltInAllows asks every built-in for one thing each.
func TestWhatEachBuiltInAllows(t *testing.T) {
	t.Parallel()
	asks := map[string]struct{ spec, field string }{
		"nothing":       {"{}", ""},
		"harmless":      {"volumes: [{name: a, emptyDir: {}}, {name: b, secret: {}}, {name: c, persistentVolumeClaim: {claimName: c}}]", ""},
		"root":          {"containers: [{name: c, securityContext: {runAsUser: 0}}]", "spec.containers[0].securityContext.runAsUser"},
		"path":          {"volumes: [{name: a}, {name: b, hostPath: {path: /}}]", "spec.volumes[1]"},
		"network":       {"hostNetwork: true", "spec.hostNetwork"},
		"processes":     {"hostPID: true", "spec.hostPID"},
		"ipc":           {"hostIPC: true", "spec.hostIPC"},
		"port":          {"initContainers: [{name: i, ports: [{containerPort: 1}, {containerPort: 2, hostPort: 2}]}]", "spec.initContainers[0].ports[1].hostPort"},
		"privileged":    {"containers: [{name: c, securityContext: {privileged: true}}]", "spec.containers[0].securityContext.privileged"},
		"escalation":    {"containers: [{name: c, securityContext: {allowPrivilegeEscalation: true}}]", "spec.containers[0].securityContext.allowPrivilegeEscalation"},
		"capability":    {"containers: [{name: c, securityContext: {capabilities: {add: [NET_BIND_SERVICE, SYS_ADMIN]}}}]", "spec.containers[0].securityContext.capabilities.add[1]"},
		"capabilities":  {"containers: [{name: c, securityContext: {capabilities: {add: [ALL]}}}]", "spec.containers[0].securityContext.capabilities.add[0]"},
		"another spell": {"containers: [{name: c, securityContext: {capabilities: {add: [CAP_KILL]}}}]", "spec.containers[0].securityContext.capabilities.add[0]"},
	}
	allowed := map[string]string{
		"restricted": "", "nonroot": "", "anyuid": "root", "hostmount-anyuid": "path root", "hostnetwork": "network port",
		"hostaccess": "ipc network path port processes",
		"privileged": "another spell capabilities capability escalation ipc network path port privileged processes root",
	}
	for _, c := range BuiltIn() {
		var may []string
		for name, a := range asks {
			spec := a.spec
			if name == "harmless" {
				spec = strings.Replace(spec, "{name: a, emptyDir: {}}", "{name: a, emptyDir: {}}, {name: d, configMap: {}}", 1)
			}
			if name == "path" {
				spec = "volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /}}]"
			}
			_, errs := Apply(&c, podOf(t, spec), ranges)
			switch {
			case len(errs) == 0 && a.field != "":
				may = append(may, name)
			case a.field == "" && len(errs) > 0, len(errs) > 1, len(errs) == 1 && errs[0].Field != a.field:
				t.Errorf("%s, %s: %v", c.Name, name, errs)
			}
		}
		slices.Sort(may)
		want, known := allowed[c.Name]
		if got := strings.Join(may, " "); got != want || !known {
			t.Errorf("%s allows %q, want %q", c.Name, got, want)
		}
	}
}

func TestWhatIsFilledIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ constraints, spec, want string }{
		"restricted": {"", "{}", "{securityContext: {fsGroup: 1000050000}, containers: [{name: c, resources: {}, securityContext: {runAsUser: 1000050000, capabilities: {drop: [KILL, SETUID, SETGID]}}}]}"},
		"a user of its own range, and one capability dropped": {"", "containers: [{name: c, securityContext: {runAsUser: 1000050007, capabilities: {drop: [KILL, CHOWN]}}}]",
			"{securityContext: {fsGroup: 1000050000}, containers: [{name: c, resources: {}, securityContext: {runAsUser: 1000050007, capabilities: {drop: [KILL, CHOWN, SETUID, SETGID]}}}]}"},
		"everything dropped": {"", "securityContext: {runAsUser: 1000059999}\ncontainers: [{name: c, securityContext: {capabilities: {drop: [ALL]}}}]",
			"{securityContext: {runAsUser: 1000059999, fsGroup: 1000050000}, containers: [{name: c, resources: {}, securityContext: {capabilities: {drop: [ALL]}}}]}"},
		"one user, groups, read-only": {"[{metadata: {name: restricted}, readOnlyRootFilesystem: true, runAsUser: {type: MustRunAs, uid: 7}, supplementalGroups: {type: MustRunAs, ranges: [{min: 3, max: 4}]}, defaultAddCapabilities: [SYS_TIME], defaultAllowPrivilegeEscalation: false}]", "{}",
			"{securityContext: {supplementalGroups: [3]}, containers: [{name: c, resources: {}, securityContext: {runAsUser: 7, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {add: [SYS_TIME]}}}]}"},
		"not root": {"[{metadata: {name: restricted}, runAsUser: {type: MustRunAsNonRoot}}]", "{}",
			"{securityContext: {}, containers: [{name: c, resources: {}, securityContext: {runAsNonRoot: true}}]}"},
		"nothing": {"[{metadata: {name: restricted}}]", "{}", "{securityContext: {}, containers: [{name: c, resources: {}}]}"},
	} {
		all := declared(t, c.constraints)
		var with *securityv1.SecurityContextConstraints
		if len(all) > 0 {
			with = &all[0]
		}
		restricted, _ := Named("restricted", with)
		pod := podOf(t, c.spec)
		before := pod.DeepCopy()
		got, errs := Apply(&restricted, pod, ranges)
		if len(errs) > 0 || pod.String() != before.String() {
			t.Errorf("%s: %v", name, errs)
		}
		if want := podOf(t, c.want); got.Spec.String() != want.Spec.String() {
			t.Errorf("%s:\n%v\nwant\n%v", name, got.Spec.String(), want.Spec.String())
		}
		if again, errs := Apply(&restricted, got, ranges); len(errs) > 0 || again.String() != got.String() {
			t.Errorf("%s: it is something else a second time: %v", name, errs)
		}
	}
}

func TestUsersAndGroupsOutsideOfTheirRanges(t *testing.T) {
	t.Parallel()
	all := declared(t, "[{metadata: {name: one}, runAsUser: {type: MustRunAs, uid: 7}}, {metadata: {name: some}, runAsUser: {type: MustRunAsRange, uidRangeMin: 5, uidRangeMax: 6}, "+
		"fsGroup: {type: MustRunAs, ranges: [{min: 1, max: 2}, {min: 8, max: 9}]}, supplementalGroups: {type: MustRunAs}}, {metadata: {name: not}, runAsUser: {type: MustRunAsNonRoot}}]")
	for name, c := range map[string]struct {
		by   int
		spec string
		want string
	}{
		"another user":          {0, "securityContext: {runAsUser: 8}", "spec.containers[0].securityContext.runAsUser"},
		"a container's user":    {0, "securityContext: {runAsUser: 7}\ncontainers: [{name: c, securityContext: {runAsUser: 0}}]", "spec.containers[0].securityContext.runAsUser"},
		"above":                 {1, "securityContext: {runAsUser: 7, fsGroup: 8}", "spec.containers[0].securityContext.runAsUser"},
		"between":               {1, "securityContext: {fsGroup: 3}", "spec.securityContext.fsGroup"},
		"one of several groups": {1, "securityContext: {supplementalGroups: [1000050001, 0]}", "spec.securityContext.supplementalGroups[1]"},
		"root":                  {2, "securityContext: {runAsUser: 0}", "spec.containers[0].securityContext.runAsUser"},
		"root by the image":     {2, "securityContext: {runAsNonRoot: false}", "spec.containers[0].securityContext.runAsNonRoot"},
	} {
		_, errs := Apply(&all[c.by], podOf(t, c.spec), ranges)
		if len(errs) != 1 || errs[0].Field != c.want {
			t.Errorf("%s: %v", name, errs)
		}
	}
	restricted, _ := Named("restricted", nil)
	for _, text := range []string{"", "x", "5", "5/", "-1/3", "9/0", "7-6", "5/99999999999999"} {
		if _, errs := Apply(&restricted, podOf(t, "{}"), map[string]string{api.UIDRangeAnnotation: text}); len(errs) != 2 {
			t.Errorf("a range %q: %v", text, errs)
		}
	}
}

func TestWhoMayUseWhich(t *testing.T) {
	t.Parallel()
	const path = "serviceAccountName: agent\nvolumes: [{name: a, hostPath: {path: /srv}}]"
	own := func(more string) string {
		return "[{metadata: {name: own}, allowHostDirVolumePlugin: true, " + more + "}]"
	}
	for name, c := range map[string]struct {
		spec, declared string
		policy         access.Policy
		by, refused    string
	}{
		"everybody has anyuid":      {spec: "{}", by: "anyuid"},
		"anyuid taken back":         {spec: "{}", declared: "[{metadata: {name: anyuid}, groups: []}]", by: "restricted"},
		"nobody may use anything":   {spec: "{}", declared: "[{metadata: {name: anyuid}}, {metadata: {name: restricted}}]", refused: "may use no SecurityContextConstraints"},
		"nobody gave it":            {spec: path, refused: "spec.volumes[0]: Invalid value: \"hostPath\": hostPath volumes are not allowed to be used]: service account shop/agent may use anyuid at most; hostmount-anyuid or hostaccess or privileged would allow it"},
		"the user":                  {spec: path, declared: own("users: ['system:serviceaccount:shop:agent']"), by: "own"},
		"another project's user":    {spec: path, declared: own("users: ['system:serviceaccount:bank:agent']"), refused: "own or hostaccess"},
		"the project's accounts":    {spec: path, declared: own("groups: ['system:serviceaccounts:shop']"), by: "own"},
		"another project's":         {spec: path, declared: own("groups: ['system:serviceaccounts:sho']"), refused: "own or"},
		"an empty name":             {spec: path, declared: own("users: [''], groups: ['']"), refused: "own or"},
		"a role":                    {spec: path, policy: granted("hostmount-anyuid"), by: "hostmount-anyuid"},
		"a role for something else": {spec: path, policy: granted("hostnetwork"), refused: "hostmount-anyuid or"},
		"a role for another":        {spec: strings.Replace(path, "agent", "default", 1), policy: granted("hostaccess"), refused: "hostaccess"},
		"not so much as is asked":   {spec: path + "\nhostPID: true", policy: granted("hostmount-anyuid"), refused: "may use hostmount-anyuid at most; hostaccess or privileged"},
		"what nobody allows":        {spec: path, declared: "[{metadata: {name: hostmount-anyuid}}, {metadata: {name: hostaccess}}, {metadata: {name: privileged}}]", refused: "none that there are would allow it"},
		"the first one that fits":   {spec: "serviceAccountName: agent", declared: "[{metadata: {name: own}, priority: 12, runAsUser: {type: MustRunAs, uid: 9}, users: ['system:serviceaccount:shop:agent']}]", by: "own"},
	} {
		got, err := ask(podOf(t, c.spec), declared(t, c.declared), c.policy)
		var refusal *Refusal
		switch {
		case c.by != "" && (err != nil || got.Annotations[api.ConstraintsAnnotation] != c.by):
			t.Errorf("%s: %v, %v", name, got, err)
		case c.by == "" && (!errors.As(err, &refusal) || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v\nwant %s", name, err, c.refused)
		}
	}
}

// TestAnAnnotationGrantsNothing: whatever a pod says of itself is replaced.
func TestAnAnnotationGrantsNothing(t *testing.T) {
	t.Parallel()
	pod := podOf(t, "{}")
	pod.Annotations = map[string]string{api.ConstraintsAnnotation: "privileged"}
	got, err := ask(pod, nil, access.Policy{})
	if err != nil || got.Annotations[api.ConstraintsAnnotation] != "anyuid" {
		t.Errorf("%v, %v", got, err)
	}
	pod = podOf(t, "containers: [{name: c, securityContext: {privileged: true}}]")
	pod.Annotations = map[string]string{api.ConstraintsAnnotation: "privileged"}
	if got, err := ask(pod, nil, access.Policy{}); err == nil {
		t.Errorf("%v", got)
	}
}

func TestAFailedReadAdmitsNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("etcd is away")
	q := Question{
		Pod:     podOf(t, "hostPID: true"),
		Project: func() (map[string]string, error) { return nil, broken },
		Access:  func() (access.Policy, error) { return access.Policy{}, nil },
	}
	if _, err := q.Answer(); !errors.Is(err, broken) {
		t.Error(err)
	}
	q.Project, q.Access = func() (map[string]string, error) { return ranges, nil }, func() (access.Policy, error) { return access.Policy{}, broken }
	if _, err := q.Answer(); !errors.Is(err, broken) {
		t.Error(err)
	}
}
