package render

import (
	"io"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/jsonnet"
	"slipway.dev/slipway/render/sandbox"
)

// job is what the child is asked to do: files of an application, in their order.
type job struct {
	// session is another number whenever a file that was imported before is not as it was.
	session    uint64
	dir        string
	parameters map[string]string
	files      []content
}

// content is a file's text.
type content struct {
	name string
	data []byte
}

func (j job) encode() []byte {
	var e encoder
	e.number(j.session)
	e.text(j.dir)
	e.parameters(j.parameters)
	e.number(uint64(len(j.files)))
	for _, f := range j.files {
		e.text(f.name)
		e.number(uint64(len(f.data)))
		e.data = append(e.data, f.data...)
	}
	return e.data
}

func decodeJob(raw []byte) (job, error) {
	d := decoder{data: raw}
	j := job{session: d.number(), dir: d.text(), parameters: d.parameters()}
	for range d.count() {
		j.files = append(j.files, content{name: d.text(), data: d.take(d.number())})
	}
	return j, d.err
}

// evaluated is what a file holds, and the names of the files that it looked for.
type evaluated struct {
	documents []document.Document
	problems  api.Problems
	reads     []string
	// individual: a value that was generated for the application went into it. The parent
	// knows that; the child does not say it.
	individual bool
}

func (r evaluated) encode() ([]byte, error) {
	var e encoder
	e.problems(r.problems)
	e.texts(r.reads)
	err := e.documents(r.documents)
	return e.data, err
}

func decodeEvaluated(raw []byte) (evaluated, error) {
	d := decoder{data: raw}
	r := evaluated{problems: d.problems(), reads: d.texts(), documents: d.documents()}
	return r, d.err
}

// question is what the child asks meanwhile: for a file, or for a generated value.
type question struct{ read, instance, name, expression string }

func (q question) encode() []byte {
	var e encoder
	e.texts([]string{q.read, q.instance, q.name, q.expression})
	return e.data
}

func decodeQuestion(raw []byte) (question, error) {
	d := decoder{data: raw}
	list := d.texts()
	if d.err != nil || len(list) != 4 {
		return question{}, errCut
	}
	return question{list[0], list[1], list[2], list[3]}, nil
}

// A file that was asked for comes after a byte that says that there is one.
const foundFile = '+'

// ChildMain is the main function of a render child. It returns the exit status.
func ChildMain(stdin io.Reader, stdout io.Writer) int {
	var c child
	return sandbox.Serve(stdin, stdout, c.do)
}

// child keeps a VM, and in it what applications of the same tree import.
type child struct {
	session uint64
	vm      *jsonnet.VM
	task    *sandbox.Task
}

func (c *child) do(raw []byte, t *sandbox.Task) ([]byte, error) {
	j, err := decodeJob(raw)
	if err != nil {
		return nil, err
	}
	c.task = t
	begun := false
	ahead := j.ahead()
	defer ahead.stop()
	for i, f := range j.files {
		part, err, parsed := ahead.take(i)
		switch {
		case parsed:
		case isJsonnet(f.name):
			if !begun {
				c.begin(j)
				begun = true
			}
			var out evaluated
			out.documents, out.problems = c.vm.EvaluateText(f.name, f.data)
			out.reads = c.vm.Reads()
			part, err = out.encode()
		default:
			part, err = f.parse()
		}
		if err != nil {
			return nil, err
		}
		if err := t.Part(part); err != nil {
			return nil, err
		}
	}
	if begun {
		c.vm.Forget(j.dir)
	}
	return nil, nil
}

// parse is the encoded result of a file of documents.
func (f content) parse() ([]byte, error) {
	var out evaluated
	out.documents, out.problems = document.Parse(f.name, f.data)
	return out.encode()
}

// begin readies the VM for an application.
func (c *child) begin(j job) {
	if c.vm == nil || c.session != j.session {
		c.vm, c.session = jsonnet.New(c, j.parameters), j.session
		return
	}
	c.vm.Next(j.parameters)
}

// Read implements jsonnet.Host.
func (c *child) Read(name string) ([]byte, bool, error) {
	answer, err := c.task.Ask(question{read: name}.encode())
	if err != nil || len(answer) == 0 {
		return nil, false, err
	}
	return answer[1:], true, nil
}

// Generated implements jsonnet.Host.
func (c *child) Generated(instance, name, expression string) (string, error) {
	answer, err := c.task.Ask(question{instance: instance, name: name, expression: expression}.encode())
	return string(answer), err
}
