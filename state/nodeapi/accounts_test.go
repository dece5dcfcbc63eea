package nodeapi_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pods that name no secret to pull with have those of their account.
func TestSecretsOfAccounts(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	ctx := t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "puller"}}
	s.create(account)
	p := pod("shop", "pulls", "mine", "mine")
	p.Spec.ServiceAccountName = "puller"
	s.create(p, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "idle"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "theirs"}}})
	key := client.ObjectKey{Namespace: "shop", Name: "theirs"}
	s.refused(c.Get(ctx, key, &corev1.Secret{}), "does not concern it")
	w, err := c.Watch(ctx, &corev1.SecretList{})
	s.must(err)
	defer w.Stop()
	account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "theirs"}}
	s.must(s.state.Update(ctx, account))
	s.must(c.Get(ctx, key, &corev1.Secret{}))
	s.must(c.Get(ctx, client.ObjectKeyFromObject(account), &corev1.ServiceAccount{}))
	s.refused(c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "idle"}, &corev1.ServiceAccount{}), "does not concern it")
	for limit := time.After(30 * time.Second); ; {
		select {
		case e := <-w.ResultChan():
			if o, ok := e.Object.(*corev1.Secret); ok && o.Name == "theirs" {
				return
			}
		case <-limit:
			t.Fatal("the secret does not come")
		}
	}
}
