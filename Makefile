# Two commands matter: `make run` and `make test`. Both set up everything they need, from nothing.

SHELL := /bin/sh
export PATH := $(PATH):$(HOME)/.cargo/bin

BIN := .venv/bin
INSTALLED := .venv/.installed
NATIVE := sfu/native
RUST_SOURCES := $(shell find $(NATIVE) -path $(NATIVE)/target -prune -o -path $(NATIVE)/fuzz -prune -o \
	\( -name '*.rs' -o -name 'Cargo.*' -o -name '*.toml' \) -type f -print 2>/dev/null)
ARGS ?=
# Most tests wait for real deadlines; the browsers' have a worker of their own.
WORKERS ?= 2

.PHONY: run test test-rust test-python test-long fuzz lint format clean help setup

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' $(MAKEFILE_LIST)

run: $(INSTALLED) ## Serve on http://localhost:8080; options by ARGS="--host ..."
	@exec $(BIN)/lectern up $(ARGS)

setup: $(INSTALLED) ## Make .venv with everything in it, and build the native core

test: test-rust test-python ## Run every test that takes seconds, Rust and Python

test-rust: $(INSTALLED)
	cargo test --locked --manifest-path $(NATIVE)/Cargo.toml --workspace --exclude lectern-py

test-python: $(INSTALLED)
	@.ci/test-tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

test-long: $(INSTALLED) fuzz ## Run the tests that take minutes, and the fuzzers
	@.ci/test-tools long
	$(BIN)/python -m pytest -m long --timeout 1200 $(ARGS)

fuzz: $(INSTALLED) ## Fuzz every parser and a node, FUZZ_SECONDS (60) each
	@$(NATIVE)/fuzz/run
	@$(BIN)/python -m tests.fuzz.run

lint: $(INSTALLED) ## Check types, style and the arrows between the folders
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cargo fmt --manifest-path $(NATIVE)/Cargo.toml --all --check
	cargo fmt --manifest-path $(NATIVE)/fuzz/Cargo.toml --check
	cargo clippy --locked --manifest-path $(NATIVE)/Cargo.toml --workspace -- -D warnings

format: $(INSTALLED) ## Format the Python and Rust sources
	$(BIN)/ruff format .
	cargo fmt --manifest-path $(NATIVE)/Cargo.toml --all

clean: ## Remove what was built (not the data in .lectern)
	rm -rf .venv build dist *.egg-info sfu/_core*.so $(NATIVE)/target $(NATIVE)/fuzz/target
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis artifacts
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for the whole set-up: pip finds quickly that nothing is missing, and cargo that nothing changed.
$(INSTALLED): setup.cfg pyproject.toml .ci/build-tools $(RUST_SOURCES)
	@python=$$(.ci/build-tools) && \
	if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c '' 2>/dev/null; then \
		echo "lectern: making .venv" && "$$python" -m venv --clear .venv; fi
	@echo "lectern: installing what it needs and building the native core (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
