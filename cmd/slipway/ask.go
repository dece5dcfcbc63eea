package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/read"
)

// maxAnswer bounds what a server may answer, in bytes.
const maxAnswer = 256 << 20

// ask sends a request to the server and decodes its answer. body nil: a GET.
func ask(ctx context.Context, address, path, contentType string, body []byte, into any) error {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(address, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return read.NoAnswer(address, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("answer of %s: %w", address, err)
	}
	if res.StatusCode != http.StatusOK {
		var status metav1.Status
		if json.Unmarshal(data, &status) == nil && status.Message != "" {
			return fmt.Errorf("the server refuses: %s", status.Message)
		}
		return fmt.Errorf("the server refuses (%s): %s", res.Status, strings.TrimSpace(string(data[:min(len(data), 64<<10)])))
	}
	return json.Unmarshal(data, into)
}

// askObject reads an object of a kind; name empty: the list of a project's.
func askObject(ctx context.Context, address string, k api.Kind, project, name string, into any) error {
	path := "/apis/" + k.Group + "/" + k.Version
	if k.Group == "" {
		path = "/api/" + k.Version
	}
	if k.Namespaced {
		path += "/namespaces/" + url.PathEscape(project)
	}
	path += "/" + k.Resource
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	return ask(ctx, address, path, "", nil, into)
}
