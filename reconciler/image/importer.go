package image

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"strings"

	imagev1 "github.com/openshift/api/image/v1"
	"github.com/openshift/library-go/pkg/image/reference"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxDocument bounds a manifest, a configuration or a token, in bytes.
const maxDocument = 4 << 20

var acceptedManifests = []string{
	"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
}

// login is what a registry is shown; the zero login is nobody.
type login struct{ Username, Password string }

// importer reads one repository of an outside registry.
type importer struct {
	http  *http.Client
	base  string
	repo  string
	login login
	token string
}

// imported looks an outside image up, and keeps its Image.
func (c *streams) imported(ctx context.Context, namespace string, t imagev1.TagReference, w work) (imagev1.TagEvent, error) {
	ref := w.reference.DockerClientDefaults()
	who, err := c.loginFor(ctx, namespace, ref)
	if err != nil {
		return imagev1.TagEvent{}, err
	}
	i := importer{http: c.HTTP, base: "https://" + ref.AsV2().Registry, repo: ref.RepositoryName(), login: who}
	image, err := i.image(ctx, ref, t.ImportPolicy.ImportMode)
	if err != nil && t.ImportPolicy.Insecure {
		i.base = "http://" + ref.AsV2().Registry
		image, err = i.image(ctx, ref, t.ImportPolicy.ImportMode)
	}
	if err != nil {
		if ctx.Err() != nil {
			return imagev1.TagEvent{}, ctx.Err()
		}
		return imagev1.TagEvent{}, err
	}
	if err := c.Client.Create(ctx, image); err != nil && !apierrors.IsAlreadyExists(err) {
		return imagev1.TagEvent{}, err
	}
	return imagev1.TagEvent{DockerImageReference: image.DockerImageReference, Image: image.Name}, nil
}

// image reads an image's manifest and configuration. Of an index, unless mode keeps
// the original, it is the manifest of this machine's architecture.
func (i *importer) image(ctx context.Context, ref reference.DockerImageReference, mode imagev1.ImportModeType) (*imagev1.Image, error) {
	name := ref.Tag
	if ref.ID != "" {
		name = ref.ID
	}
	raw, mediaType, digest, err := i.manifest(ctx, name)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, unresolved{"InvalidManifest", fmt.Sprintf("%s: manifest: %v", ref.Exact(), err)}
	}
	if len(m.Manifests) > 0 && mode != imagev1.ImportModePreserveOriginal {
		one, ok := forArchitecture(m.Manifests, runtime.GOARCH)
		if !ok {
			return nil, unresolved{"NotFound", fmt.Sprintf("%s has no image for linux/%s", ref.Exact(), runtime.GOARCH)}
		}
		if raw, mediaType, digest, err = i.manifest(ctx, one.Digest); err != nil {
			return nil, err
		}
		m = manifest{}
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, unresolved{"InvalidManifest", fmt.Sprintf("%s: manifest: %v", ref.Exact(), err)}
		}
	}
	var config []byte
	if m.Config.Digest != "" {
		if config, _, err = i.get(ctx, "blobs/"+m.Config.Digest, nil); err != nil {
			return nil, err
		}
		if got := digestOf(config); got != m.Config.Digest {
			return nil, unresolved{"InvalidConfig", fmt.Sprintf("%s: configuration is %s, want %s", ref.Exact(), got, m.Config.Digest)}
		}
	}
	ref.Tag, ref.ID = "", digest
	image, err := newImage(ref.Exact(), digest, mediaType, raw, config)
	if err != nil {
		return nil, unresolved{"InvalidManifest", err.Error()}
	}
	return image, nil
}

func forArchitecture(all []descriptor, arch string) (descriptor, bool) {
	for _, d := range all {
		if d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == arch {
			return d, true
		}
	}
	return descriptor{}, false
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// manifest reads a manifest by tag or digest; the digest is computed, not believed.
func (i *importer) manifest(ctx context.Context, name string) (raw []byte, mediaType, digest string, err error) {
	raw, mediaType, err = i.get(ctx, "manifests/"+name, acceptedManifests)
	if err != nil {
		return nil, "", "", err
	}
	digest = digestOf(raw)
	if strings.HasPrefix(name, "sha256:") && name != digest {
		return nil, "", "", unresolved{"InvalidManifest", fmt.Sprintf("%s/%s: manifest is %s, want %s", i.base, i.repo, digest, name)}
	}
	return raw, mediaType, digest, nil
}

func (i *importer) get(ctx context.Context, path string, accept []string) ([]byte, string, error) {
	address := i.base + "/v2/" + i.repo + "/" + path
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, "", unresolved{"Invalid", err.Error()}
		}
		for _, a := range accept {
			req.Header.Add("Accept", a)
		}
		switch {
		case i.token != "":
			req.Header.Set("Authorization", "Bearer "+i.token)
		case i.login != (login{}):
			req.SetBasicAuth(i.login.Username, i.login.Password)
		}
		resp, err := i.http.Do(req)
		if err != nil {
			return nil, "", unresolved{"Unreachable", err.Error()}
		}
		body, err := readDocument(resp)
		switch {
		case err != nil:
			return nil, "", unresolved{"Unreachable", fmt.Sprintf("%s: %v", address, err)}
		case resp.StatusCode == http.StatusOK:
			return body, resp.Header.Get("Content-Type"), nil
		case resp.StatusCode == http.StatusUnauthorized && try == 0 && i.authorize(ctx, resp.Header.Get("WWW-Authenticate")):
			continue
		case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
			return nil, "", unresolved{"Unauthorized", fmt.Sprintf("%s: you may not have access to the image", address)}
		case resp.StatusCode == http.StatusNotFound:
			return nil, "", unresolved{"NotFound", fmt.Sprintf("%s: not found", address)}
		}
		return nil, "", unresolved{"InternalError", fmt.Sprintf("%s: %s", address, resp.Status)}
	}
}

func readDocument(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err == nil && len(body) > maxDocument {
		err = fmt.Errorf("is longer than %d bytes", maxDocument)
	}
	return body, err
}

var challengeParameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

// authorize follows a registry's challenge to its token service.
func (i *importer) authorize(ctx context.Context, challenge string) bool {
	if !strings.HasPrefix(strings.ToLower(challenge), "bearer ") {
		return false
	}
	query, realm := url.Values{"scope": {"repository:" + i.repo + ":pull"}}, ""
	for _, p := range challengeParameter.FindAllStringSubmatch(challenge, -1) {
		switch p[1] {
		case "realm":
			realm = p[2]
		case "service":
			query.Set("service", p[2])
		}
	}
	at, err := url.Parse(realm)
	// A login is never sent in the clear unless the registry itself is spoken to so.
	if err != nil || at.Scheme != "https" && !strings.HasPrefix(i.base, at.Scheme+"://") {
		return false
	}
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return false
	}
	if i.login != (login{}) {
		req.SetBasicAuth(i.login.Username, i.login.Password)
	}
	resp, err := i.http.Do(req)
	if err != nil {
		return false
	}
	body, err := readDocument(resp)
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return false
	}
	if i.token = answer.Token; i.token == "" {
		i.token = answer.AccessToken
	}
	return i.token != ""
}

// loginFor finds the login for a registry in the project's pull secrets.
func (c *streams) loginFor(ctx context.Context, namespace string, ref reference.DockerImageReference) (login, error) {
	var secrets corev1.SecretList
	if err := c.Client.List(ctx, &secrets, client.InNamespace(namespace)); err != nil {
		return login{}, err
	}
	for _, s := range secrets.Items {
		var all struct {
			Auths map[string]dockerAuth `json:"auths"`
		}
		switch s.Type {
		case corev1.SecretTypeDockerConfigJson:
			if json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &all) != nil {
				continue
			}
		case corev1.SecretTypeDockercfg:
			if json.Unmarshal(s.Data[corev1.DockerConfigKey], &all.Auths) != nil {
				continue
			}
		}
		for host, auth := range all.Auths {
			if who := auth.login(); sameHost(host, ref.Registry) && who != (login{}) {
				return who, nil
			}
		}
	}
	return login{}, nil
}

type dockerAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Auth     string `json:"auth"`
}

func (a dockerAuth) login() login {
	if a.Username != "" {
		return login{a.Username, a.Password}
	}
	raw, err := base64.StdEncoding.DecodeString(a.Auth)
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return login{}
	}
	return login{user, password}
}

// sameHost compares a key of a pull secret, which may be a URL, with a registry.
func sameHost(key, registry string) bool {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	return host == registry || reference.IsRegistryDockerHub(host) && reference.IsRegistryDockerHub(registry)
}
