package read

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"slipway.dev/slipway/api"
)

const tableType = "application/json;as=Table;v=v1;g=meta.k8s.io"

// path is where objects of a kind are; project empty: all of them; name empty: a list.
func path(k api.Kind, project, name string) string {
	p := "/apis/" + k.Group + "/" + k.Version
	if k.Group == "" {
		p = "/api/" + k.Version
	}
	if k.Namespaced && project != "" {
		p += "/namespaces/" + url.PathEscape(project)
	}
	p += "/" + k.Resource
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// open asks the server. The caller closes the body.
func (s *scope) open(ctx context.Context, path string, q url.Values, accept string) (io.ReadCloser, error) {
	u, err := url.Parse(strings.TrimSuffix(s.server, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server %q: want a URL such as %s", s.server, DefaultServer)
	}
	target := u.String() + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, NoAnswer(s.server, err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		return nil, refusal(res)
	}
	return res.Body, nil
}

// NoAnswer is the error of a request that no server answered.
func NoAnswer(server string, err error) error {
	return fmt.Errorf("no answer from the server at %s: %w (is `slipway up` running? --server or SLIPWAY_SERVER names another)", server, unwrapURL(err))
}

func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// serverError is an error that the server answered with.
type serverError struct{ metav1.Status }

// Error reads as kubectl's does.
func (e serverError) Error() string {
	return fmt.Sprintf("Error from server (%s): %s", e.Reason, e.Message)
}

func refusal(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" {
		return serverError{s}
	}
	return fmt.Errorf("the server answered %s to %s", res.Status, res.Request.URL)
}

// read decodes an answer.
func (s *scope) read(ctx context.Context, path string, q url.Values, accept string, into any) error {
	body, err := s.open(ctx, path, q, accept)
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err == nil {
		err = utiljson.Unmarshal(data, into) // keeps whole numbers whole
	}
	if err != nil {
		return fmt.Errorf("answer to %s: %w", path, err)
	}
	return nil
}

// object reads one object or list as it is.
func (s *scope) object(ctx context.Context, path string, q url.Values, into any) error {
	return s.read(ctx, path, q, "application/json", into)
}

// kind finds a kind by what a user types.
func kind(word string) (api.Kind, error) {
	switch strings.ToLower(word) {
	case "ns", "namespace", "namespaces":
		word = "projects"
	}
	k, ok := api.KindNamed(word)
	if !ok {
		return k, fmt.Errorf("there is no kind %q; kinds: %s", word, strings.Join(resources(), " "))
	}
	return k, nil
}

func resources() []string {
	var names []string
	for _, k := range api.Kinds() {
		names = append(names, k.Resource)
	}
	return names
}

// label is how a kind is written before a name: `pod`, `deploymentconfig.apps.openshift.io`.
func label(k api.Kind) string {
	if k.Group == "" {
		return strings.ToLower(k.Kind)
	}
	return strings.ToLower(k.Kind) + "." + k.Group
}
