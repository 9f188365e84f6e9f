# Targets with a line of help are those for people; `make` prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# SUITES: the suites of .ci/suites that `make test` runs (empty: all). PKG: packages for bench and fuzz.
SUITES ?=
PKG ?= ./...
BENCH ?= .
BENCH_COUNT ?= 10
FUZZTIME ?= 30s
# RATE, SIZE, METHOD: of the experiment.
RATE ?= 50M
SIZE ?= 1G
METHOD ?= overwrite
SOAK_SEEDS ?= 300
SOAK_CHECKS ?= 50000
SOAK_ROUNDS ?= 200
# VERSION: what the binary says of itself.
VERSION = $(shell packaging/version)
STAMP = -X slatefs/cmd/slatefs/internal/control.stamp=$(VERSION)
LINT := go tool -modfile=.ci/tools.mod golangci-lint

.PHONY: all build deb test mutants test-deps lint demo soak bench bench-quick microbench bench-erase experiment cover fuzz clean help

all: build ## the same as build

build: ## build bin/slatefs
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(STAMP)' -o bin/slatefs ./cmd/slatefs

deb: ## build the Debian packages, bin/slatefs_VERSION_ARCH.deb and bin/slatefs-proxmox_VERSION_all.deb
	packaging/deb

test: ## run the test suites: all, or SUITES="unit race"
	@.ci/deps || true
	@.ci/suites $(SUITES)

mutants: ## break the critical lines of .ci/mutants/list, one at a time: a test must notice each
	@.ci/suites mutants

test-deps: ## install the Debian packages that tests use, where missing (as root)
	@.ci/deps

lint: ## run the linters (the first run builds them: some minutes)
	$(LINT) run --allow-serial-runners ./...
	go vet ./.ci/gotest ./.ci/progress ./.ci/mutants ./.ci/house
	@bad=$$(gofmt -l .ci); [ -z "$$bad" ] || { echo "not gofmt'ed: $$bad"; exit 1; }

demo: build ## show what slatefs does, on a pool file
	integration/demo.sh

experiment: build ## the published Proxmox experiment: a row of the README's table, for RATE (50M, 0 unlimited, off), SIZE, METHOD
	@METHOD=$(METHOD) SLATEFS=$(CURDIR)/bin/slatefs integration/experiment.sh $(RATE) $(SIZE)

bench-erase: build ## erase against dd, and against a running fio, as ratios (as root)
	METHOD=$(METHOD) SLATEFS=$(CURDIR)/bin/slatefs integration/bench-erase.sh

soak: ## crash, model and scale tests for hours: other seeds each time, a crash and a fault at every operation; daemons that die; a stall of 2 minutes
	go test ./chain -count=1 -failfast -timeout=0 -v -run 'TestCrash$$' -crash.long -crash.seeds=$(SOAK_SEEDS) -crash.first=$$(date +%s)
	go test ./chain -count=1 -failfast -timeout=0 -v -run TestPassingFaults -faults.every
	go test ./chain -count=1 -failfast -timeout=0 -run TestModel -rapid.checks=$(SOAK_CHECKS)
	go test ./chain ./cmd/slatefs/internal/daemon -count=1 -failfast -timeout=0 -v -run 'TestEvidenceModel$$|TestCertificateModel$$' -rapid.checks=$(SOAK_CHECKS)
	go test ./chain -count=1 -timeout=0 -v -run 'TestStall$$' -stall.snaps=4096 -stall.jobs=110000
	SLATEFS_SCALE=full go test ./integration -count=1 -timeout=0 -v -run 'Scale|TestMemory$$'
	SLATEFS_ROUNDS=$(SOAK_ROUNDS) go test ./integration -count=1 -timeout=0 -v -run 'TestOutlived$$|TestGuestOutlives$$|TestCertificates$$'
	SLATEFS_ROUNDS=$$(($(SOAK_ROUNDS) * 7)) go test ./integration -count=1 -timeout=0 -v -run 'TestGuestSnapshots$$'
	SLATEFS_SCALE=full go test ./integration -count=1 -timeout=0 -v -run 'TestGuest$$' -inside TestReclaim
	SLATEFS_SCALE=full go test ./integration -count=1 -timeout=0 -v -run 'TestGuestReboots$$'
	SLATEFS_LOAD=full go test ./fs -count=1 -timeout=0 -v -run 'TestLoad$$'
	SLATEFS_STALL=2m go test ./integration -count=1 -timeout=0 -v -run 'TestGuest$$' -inside TestStalled

bench: build ## measure slatefs beside its peers, as ratios, with the targets: 45 minutes (as root); results go to docs/
	@.ci/deps || true
	go run ./integration/bench -slatefs bin/slatefs -before docs/bench.json -json docs/bench.json -svg docs/bench.svg

bench-quick: build ## the same for a look: a minute, one round on small files, nothing is kept
	@.ci/deps || true
	go run ./integration/bench -slatefs bin/slatefs -quick

microbench: ## run the Go benchmarks of PKG, BENCH_COUNT (10) times, for benchstat
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count=$(BENCH_COUNT) -timeout=0 $(PKG)

cover: ## measure test coverage into coverage.out and coverage.html
	go test -timeout=0 -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o coverage.html
	go tool cover -func=coverage.out | tail -n 1

fuzz: ## run each fuzz target of PKG for FUZZTIME (30s)
	FUZZTIME=$(FUZZTIME) .ci/fuzz $(PKG)

clean: ## remove what the other targets made
	rm -rf bin coverage.out coverage.html

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
