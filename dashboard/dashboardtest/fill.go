package dashboardtest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

//go:embed shop.yaml
var shop string

// Fill creates the objects of shop.yaml with their status. Times in it are told as ages,
// from now.
func Fill(ctx context.Context, c client.Client, now time.Time) error {
	ago := func(age string) (string, error) {
		d, err := time.ParseDuration(age)
		return now.Add(-d).UTC().Format(time.RFC3339), err
	}
	t, err := template.New("shop.yaml").Funcs(template.FuncMap{"ago": ago}).Parse(shop)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, nil); err != nil {
		return err
	}
	uids := map[string]string{}
	documents := yaml.NewYAMLOrJSONDecoder(&text, 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := documents.Decode(&o.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("shop.yaml: %w", err)
		}
		if o.Object == nil {
			continue
		}
		if of, isEvent := o.Object["involvedObject"].(map[string]any); isEvent {
			of["uid"] = uids[fmt.Sprint(of["kind"], of["namespace"], of["name"])]
		}
		err := create(ctx, c, o)
		uids[fmt.Sprint(o.GetKind(), o.GetNamespace(), o.GetName())] = string(o.GetUID())
		if err != nil {
			return fmt.Errorf("shop.yaml: %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
	}
}

func create(ctx context.Context, c client.Client, o *unstructured.Unstructured) error {
	status, has := o.Object["status"]
	if err := c.Create(ctx, o); err != nil || !has {
		return err
	}
	o.Object["status"] = status
	return c.Status().Update(ctx, o)
}
