# Needs Go, make and git; `make` lists what there is to make.

# The race detector needs a C compiler; where there is none, tests run without.
RACE := $(if $(shell command -v "$$(go env CC)" 2>/dev/null),-race)
# More flags for the tests, how long each fuzz target runs, and which benchmarks.
TESTFLAGS ?=
FUZZTIME ?= 20000x
BENCH ?= .
# Of make faults and make soak-redis: which faults (all), how often, and the soak's seed (another one each time).
FAULTS ?=
ROUNDS ?= 1
SEED ?= 0
FAULTFLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help test redis vet fmt lint fuzz bench bench-redis soak microbench faults soak-redis kills examples cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: redis ## all tests, under the race detector; installs redis-server if it is missing
	$(if $(RACE),,@echo "no C compiler: testing without the race detector")
	@mkdir -p out
	@go -C tools build -o ../out/gotest ./gotest
	out/gotest $(RACE) -timeout=25m $(TESTFLAGS) -- ./...

redis: ## install redis-server if it is missing (apt-get; nothing is started)
	@tools/install-redis

vet: ## go vet
	go vet ./...

fmt: ## report files that gofmt would change
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

lint: ## staticcheck, the linters of tools/lint, and tools/filesets
	go tool -modfile=tools/go.mod staticcheck ./...
	go -C tools test ./...
	go -C tools build -o ../out/lint ./lint
	go vet -vettool=out/lint ./...
	go -C tools build -o ../out/filesets ./filesets
	out/filesets -max 12 ./...

fuzz: ## each fuzz target for FUZZTIME (20000x: that many inputs)
	@tools/fuzz $(FUZZTIME)

bench: ## our bus beside its peers: the table of docs/benchmarks.md
	go -C bench run .

bench-redis: redis ## transport/redis beside rueidis: throughput and latency, see docs/benchmarks.md
	go test -run '^$$' -bench Beside -benchtime 1x ./transport/redis

soak: ## ten minutes' worth of events (60 million) in less than one: memory stays flat, ledgers balance
	go -C bench run . -soak 60000000

microbench: ## the packages' benchmarks that match BENCH (all)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

faults: redis ## what is lost when servers fail, beside rueidis and go-redis: docs/faults.md
	@mkdir -p out
	go -C bench run ./faults -faults '$(FAULTS)' -rounds $(ROUNDS) -out ../out/faults.jsonl $(FAULTFLAGS)

soak-redis: redis ## 20 faults at random in a row; the histories and the memory are compared in the end
	go -C bench run ./faults -soak 20 -seed $(SEED) -faults '$(FAULTS)' $(FAULTFLAGS)

kills: ## kill a process 200 times while it writes to a log in a file, and while it publishes and handles, and compare
	SHARDBUS_KILLS=200 go test -timeout 30m -run '^(TestKill|TestDelaysOfADay|TestChaos)$$' -v ./transport/file ./internal/durabletest

examples: ## run the flights and compare their output with the one expected
	@mkdir -p out
	go run ./examples/flights -quiet -out out/airports.csv
	cmp out/airports.csv examples/flights/testdata/airports.csv

cover: redis ## coverage by function; out/cover.html shows it line by line
	@mkdir -p out
	go test -coverpkg=./... -coverprofile=out/cover.txt ./...
	go tool cover -html=out/cover.txt -o out/cover.html
	go tool cover -func=out/cover.txt

clean: ## remove what was made here
	rm -rf out
