# The commands of this repository. Each prepares what it needs, so a fresh clone may start with any of them.
# `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python

.PHONY: help setup native demo test test-rust test-python coverage fuzz check fix bench bench-browser screenshots lock clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup:  ## install what is missing and build everything (under two seconds when nothing changed)
	@scripts/setup

native:  ## rebuild only the Rust extension into .venv
	@scripts/setup --native

demo: setup  ## hold spoken turns with a server over QUIC, interrupt it, and let the network die
	@$(BIN)/legato demo --output demo-output

test: setup  ## every check and every test
	@scripts/test

test-rust: setup
	@scripts/say "cargo test"
	@cargo test --release --locked --workspace --quiet

fuzz: setup
	@if [ -x fuzz/run ]; then scripts/say "fuzz, briefly" && fuzz/run --brief; fi

test-python: setup
	@scripts/say "pytest"
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder || { \
		scripts/say "what failed, once more and alone"; \
		$(BIN)/pytest --last-failed --last-failed-no-failures none; }

coverage: setup  ## whether the tests of the core take every branch of it
	@$(BIN)/pytest --numprocesses 2 tests/core --cov=legato.core --cov-report=term-missing:skip-covered --cov-fail-under=100

check: setup  ## format, lint, types, layers, budgets; changes nothing
	@scripts/check

fix: setup  ## format and repair what can be repaired without thinking
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@cargo fmt --all

bench: setup  ## the figures of the README, measured here, beside their limits and baselines
	@scripts/bench

bench-browser: setup  ## the figures of the browser package, from Chromium and Firefox
	@$(BIN)/python bench/browser/measure.py

screenshots: setup  ## photograph the page in the moments of a call, into docs/images
	@$(BIN)/python scripts/screenshots.py

lock:  ## resolve requirements/ anew from pyproject.toml
	@scripts/lock

clean:  ## remove what the other commands made
	rm -rf .venv target dist build demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf src/legato/server/page
	rm -f src/legato/_native*.so src/legato/_balance.bpf.o
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
