package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/reconciler"
)

// exception is what `slipway override` is told.
type exception struct {
	address, project, patch, reason, owner, key, end string
	lasts                                            time.Duration
}

func overrideCommand() *cobra.Command {
	var x exception
	cmd := &cobra.Command{
		Use:     "override KIND/NAME",
		Short:   "Break the glass: except one object from git, signed, for a while",
		GroupID: "run",
		Long: `Change a live object although git says otherwise, for when git is away or too slow. The
exception is signed with your SSH key, has an owner, a reason and an end, shows on every status
of its application, and ends by itself: then git's word is put back. Until then it stands
against the repair of drift, while git's other changes go on being applied.

Who may override is said by the Secret ` + api.OverrideSigners + ` of project ` + api.SystemProject + `, which git manages.`,
		Example: `  slipway override dc/frontend -n shop-prod --patch '{"spec":{"replicas":5}}' --for 2h --reason 'the sale began early'
  slipway override --end shop-prod-1f3870be274f`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if x.owner == "" {
				x.owner = gitIdentity(cmd.Context())
			}
			if x.end != "" {
				if len(args) > 0 {
					return errors.New("--end takes the name of an override, and no object")
				}
				return x.finish(cmd)
			}
			if len(args) == 0 {
				return errors.New("name the object, such as dc/frontend, or --end an override")
			}
			return x.begin(cmd, args[0])
		},
	}
	read.ServerFlag(cmd, &x.address)
	f := cmd.Flags()
	f.StringVarP(&x.project, "project", "n", os.Getenv("SLIPWAY_PROJECT"), "project of the object (environment: SLIPWAY_PROJECT)")
	f.StringVarP(&x.patch, "patch", "p", "", "JSON merge patch of its spec, data, labels or annotations; - reads it from the input")
	f.DurationVar(&x.lasts, "for", 0, "how long it lasts, at most 168h (required)")
	f.StringVar(&x.reason, "reason", "", "why, for everybody who sees it (required)")
	f.StringVar(&x.owner, "owner", "", "who answers for it: name <address> (default: git's user)")
	f.StringVar(&x.key, "key", "", "SSH private key to sign with; a .pub file: the key of it that ssh-agent has (default: ~/.ssh/id_ed25519)")
	f.StringVar(&x.end, "end", "", "end the override of this name, or project/name, now")
	return cmd
}

// begin signs an override and sends it.
func (x exception) begin(cmd *cobra.Command, object string) error {
	for flag, missing := range map[string]bool{"--patch": x.patch == "", "--for": x.lasts <= 0, "--reason": x.reason == ""} {
		if missing {
			return fmt.Errorf("%s is needed", flag)
		}
	}
	patch := []byte(x.patch)
	if x.patch == "-" {
		var err error
		if patch, err = readFile(cmd.InOrStdin(), "-"); err != nil {
			return err
		}
	}
	if !json.Valid(patch) {
		return errors.New("--patch is not JSON")
	}
	word, name, ok := strings.Cut(object, "/")
	kind, known := api.KindNamed(word)
	if !ok || !known {
		return fmt.Errorf("%q is not KIND/NAME of a kind that there is", object)
	}
	var live unstructured.Unstructured
	if err := askObject(cmd.Context(), x.address, kind, x.project, name, &live.Object); err != nil {
		return err
	}
	labels := live.GetLabels()
	if labels[reconciler.OwnerName] == "" {
		return fmt.Errorf("%s is of no application: git does not say how it is", object)
	}
	o := &v1alpha1.Override{ObjectMeta: metav1.ObjectMeta{Namespace: labels[reconciler.OwnerNamespace]}}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Override"))
	o.Spec = v1alpha1.OverrideSpec{
		Application: labels[reconciler.OwnerName],
		Object:      v1alpha1.ObjectReference{APIVersion: live.GetAPIVersion(), Kind: live.GetKind(), Name: name, Namespace: live.GetNamespace()},
		Owner:       x.owner, Reason: x.reason, Until: metav1.NewTime(time.Now().Add(x.lasts).Truncate(time.Second)),
	}
	o.Spec.Patch.Raw = patch
	message, err := api.OverrideMessage(o)
	if err != nil {
		return err
	}
	if o.Spec.Signature, err = signText(cmd.Context(), x.key, message); err != nil {
		return err
	}
	got, err := x.send(cmd.Context(), "/slipway/v1/overrides", o)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "override %s: %s is excepted from git until %s\nend it sooner: slipway override --end %s/%s\n",
		got.Name, object, got.Until.Local().Format(time.RFC3339), o.Namespace, got.Name)
	return nil
}

// finish ends an override before its time.
func (x exception) finish(cmd *cobra.Command) error {
	project, name, ok := strings.Cut(x.end, "/")
	if !ok {
		project, name = api.SystemProject, x.end
	}
	signature, err := signText(cmd.Context(), x.key, api.OverrideEndMessage(project, name))
	if err != nil {
		return err
	}
	got, err := x.send(cmd.Context(), "/slipway/v1/overrides/"+url.PathEscape(project)+"/"+url.PathEscape(name)+"/end", server.OverrideEnd{Owner: x.owner, Signature: signature})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "override %s has ended: git's word is put back\n", got.Name)
	return nil
}

func (x exception) send(ctx context.Context, path string, body any) (server.OverrideAnswer, error) {
	var got server.OverrideAnswer
	data, err := json.Marshal(body)
	if err != nil {
		return got, err
	}
	return got, ask(ctx, x.address, path, "application/json", data, &got)
}

// gitIdentity is who git takes the user for; empty: nobody.
func gitIdentity(ctx context.Context) string {
	var parts [2]string
	for i, key := range []string{"user.name", "user.email"} {
		out, err := exec.CommandContext(ctx, "git", "config", "--get", key).Output()
		if err != nil {
			return ""
		}
		parts[i] = strings.TrimSpace(string(out))
	}
	return parts[0] + " <" + parts[1] + ">"
}

// signText signs a message for overrides. A key that needs a passphrase, or is in an agent or
// a token, is left to ssh-keygen.
func signText(ctx context.Context, key string, message []byte) (string, error) {
	if key == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		key = filepath.Join(home, ".ssh", "id_ed25519")
	}
	data, err := os.ReadFile(key)
	if err != nil {
		return "", fmt.Errorf("--key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return signElsewhere(ctx, key, message)
	}
	sig, err := sshsig.Sign(bytes.NewReader(message), signer, sshsig.HashSHA512, api.OverrideNamespace)
	if err != nil {
		return "", fmt.Errorf("--key %s: %w", key, err)
	}
	return string(sshsig.Armor(sig)), nil
}

func signElsewhere(ctx context.Context, key string, message []byte) (string, error) {
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-n", api.OverrideNamespace, "-f", key)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(message), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("--key %s: ssh-keygen -Y sign: %w", key, err)
	}
	return string(out), nil
}
