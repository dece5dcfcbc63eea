package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/network"
	"slipway.dev/slipway/registry"
	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/builder"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/pause"
)

// settings is what `up` leaves in the data directory for the commands that come later.
type settings struct {
	Listen, Registry, Name, Node   string
	ClusterNetwork, ServiceNetwork string
	Etcd                           []string `json:",omitempty"`
	NodeListen                     string   `json:",omitempty"`
}

const settingsFile = "up.json"

// save writes the settings down.
func (c *Config) save() error {
	data, err := json.MarshalIndent(settings{c.Listen, c.Registry, c.Name, c.Node, c.ClusterNetwork, c.ServiceNetwork, c.Etcd, c.NodeListen}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.dir(settingsFile), append(data, '\n'), 0o600)
}

// load reads what `up` wrote last.
func load(dataDir string) (*Config, error) {
	data, err := os.ReadFile(filepath.Join(dataDir, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not the data directory of a `slipway up`", dataDir)
	}
	if err != nil {
		return nil, err
	}
	var s settings
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", settingsFile, err)
	}
	c := &Config{
		Repo: "-", DataDir: dataDir, Listen: s.Listen, Registry: s.Registry, Name: s.Name, Node: s.Node,
		ClusterNetwork: s.ClusterNetwork, ServiceNetwork: s.ServiceNetwork, Etcd: s.Etcd, NodeListen: s.NodeListen,
	}
	return c, c.complete()
}

// Webhook is an address to enter at a git host.
type Webhook struct {
	// For is project/build-config, or gitrepository/name.
	For, URL, Secret string
}

// Webhooks lists the webhooks of every repository and build, with their secrets. It
// reads live state through the administrator's socket while the server runs.
func Webhooks(ctx context.Context, dataDir string) ([]Webhook, error) {
	c, store, err := openRunning(ctx, dataDir)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	base, err := loopbackURL(c.Listen)
	if err != nil {
		return nil, err
	}
	hooks, err := repositoryHooks(ctx, store.Client(), base)
	if err != nil {
		return nil, err
	}
	builds, err := buildHooks(ctx, store.Client(), base)
	return append(hooks, builds...), err
}

func repositoryHooks(ctx context.Context, c client.Client, base string) ([]Webhook, error) {
	var repos v1alpha1.GitRepositoryList
	if err := c.List(ctx, &repos); err != nil {
		return nil, err
	}
	var out []Webhook
	for _, r := range repos.Items {
		if r.Spec.SecretRef == nil {
			continue
		}
		token, err := secretValue(ctx, c, r.Namespace, r.Spec.SecretRef.Name, "token")
		if err != nil || token == "" {
			continue
		}
		out = append(out, Webhook{"gitrepository/" + r.Name, base + "/hooks/git/" + r.Namespace + "/" + r.Name, token})
	}
	return out, nil
}

func buildHooks(ctx context.Context, c client.Client, base string) ([]Webhook, error) {
	var configs buildv1.BuildConfigList
	if err := c.List(ctx, &configs); err != nil {
		return nil, err
	}
	var out []Webhook
	for _, bc := range configs.Items {
		for _, t := range bc.Spec.Triggers {
			trigger := map[buildv1.BuildTriggerType]*buildv1.WebHookTrigger{
				buildv1.GitHubWebHookBuildTriggerType: t.GitHubWebHook, buildv1.GitLabWebHookBuildTriggerType: t.GitLabWebHook,
				buildv1.BitbucketWebHookBuildTriggerType: t.BitbucketWebHook, buildv1.GenericWebHookBuildTriggerType: t.GenericWebHook,
			}[t.Type]
			if trigger == nil {
				continue
			}
			secret := trigger.Secret
			if ref := trigger.SecretReference; ref != nil {
				var err error
				if secret, err = secretValue(ctx, c, bc.Namespace, ref.Name, buildv1.WebHookSecretKey); err != nil {
					return nil, err
				}
			}
			url := fmt.Sprintf("%s/apis/build.openshift.io/v1/namespaces/%s/buildconfigs/%s/webhooks/%s/%s",
				base, bc.Namespace, bc.Name, secret, strings.ToLower(string(t.Type)))
			out = append(out, Webhook{bc.Namespace + "/" + bc.Name, url, secret})
		}
	}
	return out, nil
}

func secretValue(ctx context.Context, c client.Client, namespace, name, key string) (string, error) {
	var s corev1.Secret
	if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &s); err != nil {
		return "", fmt.Errorf("secret %s/%s: %w", namespace, name, err)
	}
	return string(s.Data[key]), nil
}

// RegistryLogin is the user and password of pushes to the registry.
func RegistryLogin(dataDir string) (user, password string, err error) {
	c, err := load(dataDir)
	if err != nil {
		return "", "", err
	}
	return registry.Credentials(c.registryDir())
}

// Down takes away what `up` made on this machine: containers, links, rules, and the
// images on the engine. Live state, the registry's images and logs stay in the data
// directory. The server must have ended.
func Down(ctx context.Context, dataDir string, log *slog.Logger) error {
	c, err := load(dataDir)
	if err != nil {
		return err
	}
	c.Log = log
	lock, err := lockDir(c.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	store, err := openState(ctx, c)
	if err != nil {
		return err
	}
	defer store.Close()
	// Links and rules go even where the engine, and with it every container, is gone.
	err = emptyEngine(ctx, c, store.Client())
	driver, netErr := network.New(network.Options{
		Node: c.Node, Client: store.Client(), Dir: c.dir("network"), Name: c.Name,
		ClusterNetwork: c.clusterNetwork, ServiceNetwork: c.serviceNetwork, Log: log,
	})
	if netErr == nil {
		netErr = driver.Down(ctx)
	}
	return errors.Join(err, netErr)
}

// emptyEngine removes containers and images from the engine.
func emptyEngine(ctx context.Context, c *Config, live client.Client) error {
	var list buildv1.BuildConfigList
	if err := live.List(ctx, &list); err != nil {
		return err
	}
	var configs []string
	for _, bc := range list.Items {
		configs = append(configs, bc.Namespace+"/"+bc.Name)
	}
	docker, err := engine.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer docker.Close()
	return errors.Join(
		node.Remove(ctx, docker, c.instance(), c.dir("pods")),
		builder.Remove(ctx, docker, c.Registry, configs),
		pause.Remove(ctx, docker),
	)
}
