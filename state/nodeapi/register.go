package nodeapi

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodecert"
)

// The Secrets of project slipway that say who may join and who has. Nodes never see any of these
// types, whoever names them.
const (
	TypeToken     corev1.SecretType = "slipway.dev/node-token"
	TypeNode      corev1.SecretType = "slipway.dev/node"
	TypeAuthority corev1.SecretType = "slipway.dev/node-authority"

	tokenPrefix   = "node-token-"
	nodePrefix    = "node-"
	authorityName = "node-authority"

	keySecret, keyUntil       = "secret", "until"
	keyCurrent, keyFormer     = "key", "former"
	keyAddress                = "address"
	keyCertificate, keyKeyPEM = "tls.crt", "tls.key"
)

// MaxTTL bounds how long a token is good for.
const MaxTTL = 30 * 24 * time.Hour

func secretNamed(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: api.SystemProject, Name: name}}
}

// OpenAuthority reads the authority from live state, and makes it the first time. Servers that do
// so at the same time agree.
func OpenAuthority(ctx context.Context, c client.Client, now time.Time) (*nodecert.Authority, error) {
	for {
		secret := secretNamed(authorityName)
		err := c.Get(ctx, client.ObjectKeyFromObject(secret), secret)
		if err == nil {
			return nodecert.OpenAuthority(secret.Data[keyCertificate], secret.Data[keyKeyPEM])
		}
		if !apierrors.IsNotFound(err) {
			return nil, err
		}
		cert, key, err := nodecert.NewAuthority(now)
		if err != nil {
			return nil, err
		}
		secret = secretNamed(authorityName)
		secret.Type, secret.Data = TypeAuthority, map[string][]byte{keyCertificate: cert, keyKeyPEM: key}
		if err := c.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("the authority of nodes: %w", err)
		}
	}
}

// NewToken makes a token that nodes may join with until ttl is over, and takes away those that have ended.
func NewToken(ctx context.Context, c client.Client, authority *nodecert.Authority, now time.Time, ttl time.Duration) (nodecert.Token, error) {
	if ttl <= 0 || ttl > MaxTTL {
		return nodecert.Token{}, fmt.Errorf("a token is good for more than nothing and for %s at most, not for %s", MaxTTL, ttl)
	}
	var all corev1.SecretList
	if err := c.List(ctx, &all, client.InNamespace(api.SystemProject)); err != nil {
		return nodecert.Token{}, err
	}
	for i := range all.Items {
		if old := &all.Items[i]; old.Type == TypeToken && !good(old, now) {
			if err := c.Delete(ctx, old); client.IgnoreNotFound(err) != nil {
				return nodecert.Token{}, err
			}
		}
	}
	t := nodecert.NewToken(authority.Hash())
	secret := secretNamed(tokenPrefix + t.ID)
	secret.Type = TypeToken
	secret.Data = map[string][]byte{keySecret: []byte(t.Kept()), keyUntil: []byte(now.Add(ttl).UTC().Format(time.RFC3339))}
	return t, c.Create(ctx, secret)
}

// RevokeTokens ends all tokens: no host joins by one that was made before. Nodes that have joined stay.
func RevokeTokens(ctx context.Context, c client.Client) (ended int, err error) {
	var all corev1.SecretList
	if err := c.List(ctx, &all, client.InNamespace(api.SystemProject)); err != nil {
		return 0, err
	}
	for i := range all.Items {
		if all.Items[i].Type != TypeToken {
			continue
		}
		if err := c.Delete(ctx, &all.Items[i]); client.IgnoreNotFound(err) != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}

func good(token *corev1.Secret, now time.Time) bool {
	until, err := time.Parse(time.RFC3339, string(token.Data[keyUntil]))
	return err == nil && now.Before(until)
}

// Remove shuts a node out for good: its certificates are worth nothing any more and its Node is
// gone. Containers that run on it keep running there until somebody stops them.
func Remove(ctx context.Context, c client.Client, name string) error {
	secret := secretNamed(nodePrefix + name)
	err := c.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err != nil || secret.Type != TypeNode {
		return removeServers(ctx, c, name)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return errors.Join(client.IgnoreNotFound(c.Delete(ctx, secret)), client.IgnoreNotFound(c.Delete(ctx, node)))
}

// removeServers takes away the Node of a server that is no more. One that runs would make it anew.
func removeServers(ctx context.Context, c client.Client, name string) error {
	var node corev1.Node
	err := c.Get(ctx, client.ObjectKey{Name: name}, &node)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no node %s", name)
	}
	if err != nil {
		return err
	}
	for _, r := range node.Status.Conditions {
		if r.Type == corev1.NodeReady && r.Status == corev1.ConditionTrue {
			return fmt.Errorf("node %s is that of a server which runs: stop the server first, then `slipway down` there", name)
		}
	}
	return client.IgnoreNotFound(c.Delete(ctx, &node))
}

// maxAsk bounds the body of a request for a certificate, in bytes.
const maxAsk = 16 << 10

// certificate gives a node its first certificate, or its next.
func (s *Server) certificate(c *gin.Context) {
	select {
	case s.strangers <- struct{}{}:
		defer func() { <-s.strangers }()
	default:
		s.fail(c, tooMuch("%d others ask for a certificate", strangers))
		return
	}
	name := c.Param("name")
	var ask nodecert.Ask
	deadlines := deadlinesOf(c)
	defer deadlines.write(s.times.take)()
	body, err := deadlines.read(s.times.stranger, http.MaxBytesReader(c.Writer, c.Request.Body, maxAsk))
	if err == nil {
		err = json.Unmarshal(body, &ask)
	}
	if err != nil {
		s.fail(c, apierrors.NewBadRequest("this is no request for a certificate"))
		return
	}
	if bad := validation.IsDNS1123Subdomain(name); len(bad) > 0 || len(name) > 63 {
		s.fail(c, apierrors.NewBadRequest(fmt.Sprintf("%q is no name of a node: want at most 63 lower-case letters, digits, dashes and dots", name)))
		return
	}
	key, err := nodecert.RequestKey([]byte(ask.Request))
	if err != nil {
		s.fail(c, apierrors.NewBadRequest(err.Error()))
		return
	}
	answer, err := s.admit(c, name, key, ask)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, answer)
}

func (s *Server) admit(c *gin.Context, name, key string, ask nodecert.Ask) (*nodecert.Answer, error) {
	ctx := c.Request.Context()
	secret := secretNamed(nodePrefix + name)
	err := s.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	joined := err == nil && secret.Type == TypeNode
	if err == nil && !joined {
		return nil, unauthorized("node %s: the name is taken", name)
	} else if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err := s.mayHave(c.Request, name, key, ask, secret, joined); err != nil {
		return nil, err
	}
	at, err := s.address(c.Request, name, ask, string(secret.Data[keyAddress]))
	if err != nil {
		return nil, err
	}
	cert, _, err := s.Authority.Sign([]byte(ask.Request), name, s.Now())
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if err := s.register(ctx, secret, joined, key, at); err != nil {
		return nil, err
	}
	if err := s.ensureNode(ctx, name, at, ask.Architecture); err != nil {
		return nil, err
	}
	s.Log.Info("a node has a certificate", "node", name, "from", c.Request.RemoteAddr, "joined", !joined)
	return &nodecert.Answer{Certificate: string(cert), Authority: string(s.Authority.Certificate()), Cluster: s.Cluster}, nil
}

// mayHave says why a name's certificate is not given to who asks.
func (s *Server) mayHave(r *http.Request, name, key string, ask nodecert.Ask, secret *corev1.Secret, joined bool) error {
	if ask.Token != "" {
		if err := s.checkToken(r.Context(), ask.Token); err != nil {
			return err
		}
	}
	switch shown := s.shows(r, name, secret); {
	case joined && shown == nil: // the next certificate, or a join again
	case joined && ask.Token != "" && same(secret.Data[keyCurrent], key): // the answer got lost
	case joined && ask.Token != "":
		return unauthorized("node %s has joined: a name is given once. Show the certificate that it had (the same --data-dir), or take the node away with `slipway node remove %s`", name, name)
	case joined:
		return shown
	case ask.Token == "":
		return unauthorized("node %s has not joined: a token is needed", name)
	default:
		return s.free(r.Context(), name)
	}
	return nil
}

func same(a []byte, b string) bool { return subtle.ConstantTimeCompare(a, []byte(b)) == 1 }

func unauthorized(format string, args ...any) error {
	return apierrors.NewUnauthorized(fmt.Sprintf(format, args...))
}

func (s *Server) checkToken(ctx context.Context, text string) error {
	wrong := unauthorized("the token is wrong or has ended: make another with `slipway node token`")
	t, err := nodecert.ParseToken(text)
	if err != nil {
		return wrong
	}
	secret := secretNamed(tokenPrefix + t.ID)
	err = s.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if apierrors.IsNotFound(err) {
		return wrong
	}
	if err != nil {
		return err
	}
	if secret.Type != TypeToken || !same(secret.Data[keySecret], t.Kept()) || !good(secret, s.Now()) {
		return wrong
	}
	return nil
}

// free says whether a name may be given: not if a Node has it that did not join, for that is a server's.
func (s *Server) free(ctx context.Context, name string) error {
	err := s.Client.Get(ctx, client.ObjectKey{Name: name}, &corev1.Node{})
	if err == nil {
		return unauthorized("node %s: the name is taken by the node of a server", name)
	}
	return client.IgnoreNotFound(err)
}

// register notes the key of a node's certificate, and the one before, which stays good in case the
// answer is lost.
func (s *Server) register(ctx context.Context, secret *corev1.Secret, joined bool, key, address string) error {
	if !joined {
		secret = secretNamed(secret.Name)
		secret.Type, secret.Data = TypeNode, map[string][]byte{keyCurrent: []byte(key), keyAddress: []byte(address)}
		return s.Client.Create(ctx, secret)
	}
	if same(secret.Data[keyCurrent], key) && string(secret.Data[keyAddress]) == address {
		return nil
	}
	if !same(secret.Data[keyCurrent], key) {
		secret.Data[keyFormer], secret.Data[keyCurrent] = secret.Data[keyCurrent], []byte(key)
	}
	secret.Data[keyAddress] = []byte(address)
	return s.Client.Update(ctx, secret)
}

// ensureNode makes the Node of a node that joins. What steers pods and addresses to it is not the
// node's to say: labels and taints are set on the server's side, and so is the subnet.
func (s *Server) ensureNode(ctx context.Context, name, address, architecture string) error {
	node := &corev1.Node{}
	err := s.Client.Get(ctx, client.ObjectKey{Name: name}, node)
	if apierrors.IsNotFound(err) {
		return s.Client.Create(ctx, bareNode(name, address, architecture))
	}
	if err != nil || node.Annotations[api.NodeAddress] == address {
		return err
	}
	before := node.DeepCopy()
	metav1.SetMetaDataAnnotation(&node.ObjectMeta, api.NodeAddress, address)
	return s.Client.Patch(ctx, node, client.MergeFrom(before))
}

// architectures are those that a node may say it has.
var architectures = []string{"amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "loong64"}

// bareNode is a Node as it begins. Builds stay on the servers' hosts, which have the sources and may
// push.
func bareNode(name, address, architecture string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{api.NodeAddress: address, api.NodeBuilds: "false"},
		Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelOSStable: "linux"},
	}}
	if slices.Contains(architectures, architecture) {
		n.Labels[corev1.LabelArchStable] = architecture
	}
	return n
}
