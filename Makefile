# Everything a contributor types. `make demo` and `make test` need Go, git and root;
# they install or start the Docker Engine themselves where none runs.
GO ?= go
ARGS ?=

.PHONY: build demo test lint fmt generate clean

build:
	CGO_ENABLED=0 $(GO) build -o bin/slipway ./cmd/slipway

demo: build
	bin/slipway demo $(ARGS)

test: lint
	$(GO) test ./...

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run make fmt"; exit 1; }
	$(GO) vet ./...

fmt:
	gofmt -w $$(git ls-files '*.go')

generate:
	$(GO) run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.20.0 object paths=./api/v1alpha1/

clean:
	rm -rf bin
