# Everything a contributor types. `make demo` and `make test` need Go, git and root: they
# install what is missing from Debian's packages, and where no Docker Engine runs they
# start one of their own and stop it after.
GO ?= go
ARGS ?=
FUZZTIME ?= 10s
BENCHTIME ?= 300ms
SOAKTIME ?= 10m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# No C compiler is needed; only the race detector wants one.
export CGO_ENABLED ?= 0
# Only files that git knows or would know: no build artefacts, no vendored libraries.
SOURCES = $(shell git ls-files --cached --others --exclude-standard '*.go')
# Runs a command with a Docker Engine and with the programs that tests call.
WITH_ENGINE = $(GO) run ./runtime/engine/enginerun -install
# Types and calls that their makers deprecate for what OpenShift 3's model does not have.
DELIBERATE = : (corev1\.Endpoint[A-Za-z]*|client\.Apply) is deprecated

.PHONY: build demo test lint race soak rollouts bench bench-short microbench fuzz fmt generate clean

build:
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/slipway ./cmd/slipway

demo: build
	bin/slipway demo $(ARGS)

# What is small first; then the program as a whole by itself, because it is tried under load
# and amid faults, beside which nothing else gets its turn in time. Most of its tests wait for
# pods, leases and builds: several at once.
test: lint
	$(WITH_ENGINE) $(GO) test -vet=off -p 3 -timeout 30m $$($(GO) list ./... | grep -v '/cmd/slipway$$')
	$(WITH_ENGINE) $(GO) test -vet=off -timeout 30m -parallel 3 ./cmd/slipway
	cd bench && $(GO) test -vet=off -timeout 10m ./...

lint:
	@unformatted=$$(gofmt -l $(SOURCES)); test -z "$$unformatted" || { echo "$$unformatted"; echo "run make fmt"; exit 1; }
	$(GO) vet ./...
	cd bench && $(GO) vet ./...
	@echo '$(GO) tool staticcheck ./...'; \
	found=$$($(GO) tool staticcheck ./...); status=$$?; \
	if echo "$$found" | grep -vE '$(DELIBERATE)' | grep . || test $$status -gt 1; then exit 1; fi

race: export CGO_ENABLED = 1
race:
	$(WITH_ENGINE) $(GO) test -race -timeout 60m ./...

# A lab of several servers in which things break at random for SOAKTIME; what must hold holds after each. A
# failure says -soak-seed, with which the same things break again (ARGS=-soak-seed=N).
soak:
	$(WITH_ENGINE) $(GO) test -vet=off -v -count=1 -timeout 24h -run '^TestFaults$$' ./cmd/slipway -soak=$(SOAKTIME) $(ARGS)

# Twenty rollouts in a row under full load, then twenty with the server killed twice in each;
# `make test` makes two of both. ARGS=-v says how many requests there were.
ROLLOUTS ?= 20
rollouts:
	$(WITH_ENGINE) $(GO) test -vet=off -count=1 -timeout 60m -run '^TestRollouts' $(ARGS) ./cmd/slipway -rollouts $(ROLLOUTS)

# Slipway and its peers in the same run, with the table in docs/benchmarks.md. The first
# time it builds the peers, which takes a quarter of an hour; the run takes another half.
# ARGS=-only=render takes some of it, and writes no page.
bench:
	cd bench && $(GO) run . $(if $(ARGS),$(ARGS),-out ../docs/benchmarks.md -json ../docs/benchmarks.json)

# A small version of it that checks results, of which speed says little.
bench-short:
	cd bench && $(GO) run . -short $(ARGS)

# Short runs of Go's benchmarks; -count and a longer BENCHTIME for figures to quote.
microbench:
	$(WITH_ENGINE) $(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem -timeout 30m ./...

# Go fuzzes one target at a time: each gets FUZZTIME.
fuzz:
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$target in $$(dirname $$file)"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$(dirname $$file) || exit 1; \
		done; \
	done

fmt:
	gofmt -w $(SOURCES)

generate:
	$(GO) run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.20.0 object paths=./api/v1alpha1/

clean:
	rm -rf bin
