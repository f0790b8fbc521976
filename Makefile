VERSION ?= $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help build test test-kafka lint fmt generate bench bench-sinks bench-memory soak guards chaos examples validate demo ci clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## static binary in bin/connector
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/connector ./cmd/connector

test: ## tests with in-process brokers
	go test ./...

test-kafka: ## tests with a real Apache Kafka (needs Java 17 and Maven)
	scripts/kafka.sh run -- go test ./...

lint: ## golangci-lint and shellcheck
	PATH="$$(scripts/tools.sh):$$PATH" golangci-lint run
	shellcheck scripts/*.sh .ci/run

fmt: ## format the Go code
	PATH="$$(scripts/tools.sh):$$PATH" golangci-lint fmt

generate: ## rewrite the generated files
	go generate ./...

bench: ## benchmarks
	go test -run='^$$' -bench=. -benchmem ./...

bench-sinks: ## CPU per event of each sink beside raw publishing, with a real Apache Kafka
	scripts/kafka.sh run -- go test ./sinks/bench -run='^$$' -bench=.

ROWS ?= 10000000

bench-memory: ## peak memory of a real process, up to ROWS=10000000 rows
	go test ./internal/membench -run='^$$' -bench=. -benchtime=1x -timeout 0 -rows $(ROWS)

SOAK ?= 1000000

soak: ## SOAK=1000000 random histories of the pipeline, from SEED on
	go test ./pipeline/model -run TestHistories -v -timeout 0 -histories $(SOAK) -seed $(or $(SEED),$(shell date +%s)000000)

guards: ## the table of docs/proofs.md: each guard removed in turn
	go test ./pipeline/model -run TestGuards -v -guards -timeout 1h

KILLS ?= 100

chaos: ## KILLS=100 kills of the connector for each sink, against a real Kafka
	scripts/kafka.sh run -- go test ./internal/chaos -v -count=1 -timeout 0 -chaos.kills=$(KILLS) $(if $(SEED),-chaos.seed=$(SEED))

examples: ## run the consumers of examples/ and compare their answers, with a real Kafka
	scripts/examples.sh

ROWS_VALIDATED ?= 100000

validate: ## ROWS_VALIDATED=100000 rows, every message validated by Go and by ajv
	scripts/validate.sh $(ROWS_VALIDATED)

demo: ## simulated providers, embedded NATS, live events
	go run ./cmd/connector demo

ci: ## everything a change must pass
	.ci/run

clean: ## remove build results (data/ holds checkpoints and stays)
	rm -rf bin
