package render

import (
	"encoding/json"
	"io"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/jsonnet"
	"slipway.dev/slipway/render/sandbox"
)

// job is what the child is asked to do: one file of an application.
type job struct {
	// Session is another number for each render: Jsonnet files of one share their imports.
	Session    uint64            `json:"session"`
	Parameters map[string]string `json:"parameters,omitempty"`
	File       string            `json:"file"`
	// Data is the file's content, except of Jsonnet, which is read like an import.
	Data []byte `json:"data,omitempty"`
}

// evaluated is what a file holds.
type evaluated struct {
	Documents []document.Document `json:"documents,omitempty"`
	Problems  api.Problems        `json:"problems,omitempty"`
}

// question is what the child asks meanwhile: for a file, or for a generated value.
type question struct {
	Read       string `json:"read,omitempty"`
	Instance   string `json:"instance,omitempty"`
	Name       string `json:"name,omitempty"`
	Expression string `json:"expression,omitempty"`
}

// reply answers a question.
type reply struct {
	Data  []byte `json:"data,omitempty"`
	Found bool   `json:"found,omitempty"`
	Value string `json:"value,omitempty"`
}

// ChildMain is the main function of a render child. It returns the exit status.
func ChildMain(stdin io.Reader, stdout io.Writer) int {
	var c child
	return sandbox.Serve(stdin, stdout, c.do)
}

// child keeps the VM of the render that it works for.
type child struct {
	session uint64
	vm      *jsonnet.VM
	ask     sandbox.Ask
}

func (c *child) do(raw json.RawMessage, ask sandbox.Ask) (any, error) {
	var j job
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, err
	}
	var out evaluated
	if !isJsonnet(j.File) {
		out.Documents, out.Problems = document.Parse(j.File, j.Data)
		return out, nil
	}
	if c.ask = ask; c.vm == nil || c.session != j.Session {
		c.vm, c.session = jsonnet.New(c, j.Parameters), j.Session
	}
	out.Documents, out.Problems = c.vm.Evaluate(j.File)
	return out, nil
}

// Read implements jsonnet.Host.
func (c *child) Read(name string) ([]byte, bool, error) {
	var r reply
	err := c.ask(question{Read: name}, &r)
	return r.Data, r.Found, err
}

// Generated implements jsonnet.Host.
func (c *child) Generated(instance, name, expression string) (string, error) {
	var r reply
	err := c.ask(question{Instance: instance, Name: name, Expression: expression}, &r)
	return r.Value, err
}
