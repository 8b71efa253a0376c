# Each command does all the set-up it needs, once: `make test` works on a fresh checkout, and starts at once the
# second time. What set-up does, and how it knows that there is nothing to do, stands in scripts/setup.py.

.DEFAULT_GOAL := help
.PHONY: help setup setup-engine demo demo-network bench bench-quick bench-network wheels check lint format types imports page test test-long lock clean

BIN := .venv/bin
LINTED := src tests scripts $(wildcard bench examples)
PYTEST := $(BIN)/pytest
# The page's own scripts, on the Node that set-up uses.
NPM := PATH="$(CURDIR)/.venv/node/shims:$$PATH" npm --prefix web run --silent
# More workers than processors help nobody; a file's tests stay together, because some share a daemon. Networks of
# validators use the same addresses, so their tests run one after another, behind the rest (5: nothing was selected, which one of the two may say).
PYTEST_ARGS ?= -n 2 --dist loadfile

help: ## these words
	@echo "make <command>:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  %-12s %s\n", $$1, $$2 }'

setup: ## the environment alone: .venv, the locked dependencies, the package, the page
	@sh scripts/setup.sh

setup-engine: ## the distributed engine (CometBFT), built once into .venv/engine; `make test` does it too
	@sh scripts/setup.sh --quiet --no-page
	@$(BIN)/python scripts/setup_engine.py

demo: ## a chain, a gateway, devices that replay recorded data, and the page (Ctrl-C stops, a second run goes on)
	@sh scripts/setup.sh --quiet
	@$(BIN)/althing demo

demo-network: ## the same on CometBFT, with four validators of four organisations (a home of its own: ~/.althing-network)
	@sh scripts/setup.sh --quiet
	@$(BIN)/python scripts/setup_engine.py --quiet
	@$(BIN)/althing demo --engine cometbft --validators 4 --home "$${ALTHING_HOME:-$$HOME/.althing-network}"

wheels: ## the wheels of a release, with what they need locked, in dist/: install them on another machine
	@sh scripts/setup.sh --quiet
	@$(BIN)/python scripts/make_wheels.py

test: ## every test but the long-running ones (PYTEST_ARGS='-k proof' narrows it)
	@sh scripts/setup.sh --quiet
	@$(BIN)/python scripts/setup_engine.py --quiet || echo "tests of the distributed engine are skipped" >&2
	@page=0; $(NPM) test || page=$$?; \
	export HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci}; most=0; engine=0; \
	$(PYTEST) -m "not long and not needs_engine" $(PYTEST_ARGS) || most=$$?; \
	$(PYTEST) -m "not long and needs_engine" $(PYTEST_ARGS) -n 0 || engine=$$?; \
	case $$page.$$most.$$engine in 0.0.0|0.0.5|0.5.0) ;; *) exit 1 ;; esac

test-long: ## the long-running variants: many random rounds of faults and properties
	@sh scripts/setup.sh --quiet
	@$(BIN)/python scripts/setup_engine.py --quiet || echo "tests of the distributed engine are skipped" >&2
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-long} $(PYTEST) -m long $(PYTEST_ARGS)

bench: ## the benchmark, beside references measured in the same run (BENCH='messages disk' narrows it)
	@sh scripts/setup.sh --quiet --no-page
	@$(BIN)/python -m bench $(BENCH)

bench-quick: ## the same in small: does everything run?
	@sh scripts/setup.sh --quiet --no-page
	@$(BIN)/python -m bench --quick $(BENCH)

BENCH_NETWORK := network-transactions network-readings network-joining network-cost

bench-network: ## the distributed engine beside CometBFT's own application (BENCH_ARGS=--quick: does everything run?)
	@sh scripts/setup.sh --quiet --no-page
	@$(BIN)/python scripts/setup_engine.py --quiet
	@$(BIN)/python -m bench $(or $(BENCH),$(BENCH_NETWORK)) $(BENCH_ARGS)

check: ## linters, formatting, types, import rules (all of them, also when one fails)
	@sh scripts/setup.sh --quiet
	@$(MAKE) --no-print-directory --keep-going lint format types imports page

lint:
	$(BIN)/ruff check $(LINTED)

format:
	$(BIN)/ruff format --check $(LINTED)

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports --no-logo --config .importlinter

page:
	$(NPM) check

UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

lock: ## the lock files, after a change in pyproject.toml (UPGRADE=1: take newer versions too); needs a network
	@sh scripts/setup.sh --quiet --no-page
	@$(BIN)/python -m pip install -q --require-hashes --only-binary :all: -r requirements/lock.txt
	$(UV) pyproject.toml --all-extras -o requirements/runtime.txt
	$(UV) pyproject.toml --all-extras --group dev -o requirements/dev.txt
	$(UV) pyproject.toml --extra cometbft -c requirements/runtime.txt -o requirements/deploy.txt
	$(UV) requirements/build.in -o requirements/build.txt
	$(UV) requirements/vectors.in -o requirements/vectors.txt
	$(UV) requirements/node.in -o requirements/node.txt
	$(UV) requirements/go.in -o requirements/go.txt
	$(UV) requirements/protobuf.in -o requirements/protobuf.txt
	$(UV) requirements/lock.in -o requirements/lock.txt

clean: ## everything that was made here; data of a demo or a node stays
	rm -rf .venv web/node_modules src/althing/console/static dist build
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
