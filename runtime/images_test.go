package runtime

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/state/loop"
)

func secretOf(kind corev1.SecretType, content string) *corev1.Secret {
	key := corev1.DockerConfigJsonKey
	if kind == corev1.SecretTypeDockercfg {
		key = corev1.DockerConfigKey
	}
	return &corev1.Secret{Type: kind, Data: map[string][]byte{key: []byte(content)}}
}

func TestCredentialsAreForTheirRegistryOnly(t *testing.T) {
	t.Parallel()
	for _, secret := range []*corev1.Secret{
		secretOf(corev1.SecretTypeDockerConfigJson, `{"auths":{"https://reg.example:5000/v1/":{"auth":"dTpw"}}}`),
		secretOf(corev1.SecretTypeDockerConfigJson, `{"auths":{"reg.example:5000":{"username":"u","password":"p"}}}`),
		secretOf(corev1.SecretTypeDockercfg, `{"http://reg.example:5000":{"auth":"dTpw"}}`),
	} {
		c, err := credentials(secret, "reg.example:5000/shop/web")
		if err != nil || len(c) != 1 || c[0].Username != "u" || c[0].Password != "p" {
			t.Errorf("%s: %+v, %v", secret.Data, c, err)
		}
		for _, other := range []string{"reg.example/shop/web", "reg.example:5001/shop/web", "evil.example/reg.example:5000/web", "a.reg.example:5000/web"} {
			if c, _ := credentials(secret, other); len(c) > 0 {
				t.Errorf("%s gets them, too", other)
			}
		}
	}
}

func TestCredentialsThatSayMostGoFirst(t *testing.T) {
	t.Parallel()
	of := func(user string) string { return `{"username":"` + user + `"}` }
	secret := secretOf(corev1.SecretTypeDockerConfigJson, `{"auths":{"reg.example":`+of("all")+`,"reg.example/shop":`+of("shop")+`,"reg.example/shop/web":`+of("web")+
		`,"*.example.org":`+of("pattern")+`,"https://index.docker.io/v1/":`+of("hub")+`,"":`+of("nobody")+`}}`)
	for repository, want := range map[string]string{
		"reg.example/shop/web": "web shop all", "reg.example/shop/db": "shop all", "reg.example/shopping/web": "all", "reg.example/other": "all",
		"a.example.org/x": "pattern", "a.b.example.org/x": "", "example.org/x": "", "docker.io/library/web": "hub", "else.example/x": "", "": "",
	} {
		found, err := credentials(secret, repository)
		var users []string
		for _, c := range found {
			users = append(users, c.Username)
		}
		if got := strings.Join(users, " "); err != nil || got != want {
			t.Errorf("%s: %q, %v, not %q", repository, got, err, want)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	for _, s := range []string{`{"auths":{"a":{"auth":"dTpw"}}}`, `{"auths":null}`, `[]`, `{"auths":{"":{}}}`, `{`, `{"auths":{"[":{},"a/":{},"*":{}}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range []corev1.SecretType{corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg} {
			if c, err := credentials(secretOf(kind, s), "a/b"); err != nil && len(c) > 0 {
				t.Error("credentials and an error")
			}
			if c, _ := credentials(secretOf(kind, s), ""); len(c) > 0 {
				t.Error("credentials for nobody")
			}
		}
	})
}

func TestAPodThatFindsItsImageBeingPulledIsWoken(t *testing.T) {
	t.Parallel()
	const name = "127.0.0.1:1/nowhere/image:none"
	a := &Agent{Options: Options{Docker: enginetest.Client(t), Clock: time.Now}}
	p := &pull{running: true, waiting: map[loop.Key]bool{}}
	a.pulls.images = map[string]*pull{name: p}
	second := loop.Key{Namespace: "demo", Name: "second"}
	image, err := a.image(t.Context(), second, name)
	if err != nil || image.Present || !image.Pulling {
		t.Fatalf("observed %+v, %v", image, err)
	}
	if woken := a.pulled(p, nil); len(woken) != 1 || woken[0] != second {
		t.Errorf("woken: %v", woken)
	}
}
