package gitserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Hook is a webhook that every push to a repository calls.
type Hook struct {
	URL string `json:"url"`
	// Secret signs the body (HMAC-SHA-256); SecretFile names a file that holds it instead.
	// With neither the call is not signed.
	Secret     string `json:"secret,omitempty"`
	SecretFile string `json:"secretFile,omitempty"`
}

// hooksFile is where a repository keeps its webhooks.
const hooksFile = "hooks.json"

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Repository describes a repository to be made.
type Repository struct {
	// Root is the folder that the server serves.
	Root string
	// Name, without `.git`.
	Name string
	// CloneURL is what webhooks name the repository by; PostReceive sends it on.
	CloneURL string
	// Executable is called after a push as `Executable post-receive --dir <repository>`,
	// with the pushed references on stdin; empty: no hook is installed.
	Executable string
	// Hooks are called by `post-receive`; they can be changed with SetHooks.
	Hooks []Hook
}

// Init makes a bare repository with the default branch main that takes pushes, and
// installs its post-receive hook. A repository that exists keeps its commits and takes
// the new settings. It answers the repository's folder.
func Init(r Repository) (string, error) {
	if !repositoryName.MatchString(r.Name) || strings.HasSuffix(r.Name, ".git") || strings.HasSuffix(r.Name, ".lock") {
		return "", fmt.Errorf("repository name %q: letters, digits, dots, dashes and underscores are allowed", r.Name)
	}
	root, err := filepath.Abs(r.Root)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, r.Name+".git")
	if err := runGit("init", "--quiet", "--bare", "--initial-branch=main", dir); err != nil {
		return "", err
	}
	config := [][2]string{
		{"http.receivepack", "true"},
		{"receive.autogc", "false"},
		{"uploadpack.allowReachableSHA1InWant", "true"},
		{"slipway.cloneurl", r.CloneURL},
	}
	for _, kv := range config {
		if err := runGit("-C", dir, "config", kv[0], kv[1]); err != nil {
			return "", err
		}
	}
	if err := SetHooks(dir, r.Hooks); err != nil {
		return "", err
	}
	return dir, installHook(dir, r.Executable)
}

func installHook(dir, executable string) error {
	name := filepath.Join(dir, "hooks", "post-receive")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if executable == "" {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	executable, err := filepath.Abs(executable)
	if err != nil {
		return err
	}
	script := "#!/bin/sh\n# Calls the webhooks of " + hooksFile + ".\nexec " + quote(executable) + " post-receive --dir " + quote(dir) + "\n"
	if err := os.WriteFile(name, []byte(script), 0o755); err != nil {
		return err
	}
	return os.Chmod(name, 0o755)
}

// SetHooks replaces the webhooks of the repository in dir.
func SetHooks(dir string, hooks []Hook) error {
	if hooks == nil {
		hooks = []Hook{}
	}
	content, err := json.MarshalIndent(hooks, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, hooksFile+".new")
	if err := os.WriteFile(tmp, append(content, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, hooksFile))
}

func readHooks(dir string) ([]Hook, error) {
	content, err := os.ReadFile(filepath.Join(dir, hooksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var hooks []Hook
	if err := json.Unmarshal(content, &hooks); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, hooksFile), err)
	}
	return hooks, nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// runGit runs git away from the settings of whoever runs this program.
func runGit(args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TEMPLATE_DIR=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
