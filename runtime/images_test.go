package runtime

import (
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
		c, found, err := credentials(secret, "reg.example:5000")
		if err != nil || !found || c.Username != "u" || c.Password != "p" {
			t.Errorf("%s: %+v, %v, %v", secret.Data, c, found, err)
		}
		for _, other := range []string{"reg.example", "reg.example:5001", "evil.example"} {
			if _, found, _ := credentials(secret, other); found {
				t.Errorf("%s gets them, too", other)
			}
		}
	}
}

func FuzzCredentials(f *testing.F) {
	for _, s := range []string{`{"auths":{"a":{"auth":"dTpw"}}}`, `{"auths":null}`, `[]`, `{"auths":{"":{}}}`, `{`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range []corev1.SecretType{corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg} {
			if c, found, err := credentials(secretOf(kind, s), "a"); (err != nil || !found) && c.Username+c.Password != "" {
				t.Error("credentials without a match")
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
