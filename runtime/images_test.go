package runtime

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
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
