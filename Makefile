# The two commands: `make demo` and `make test`. Both do all the set-up that a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: demo test faults peers fuzz bench bounce-report returned-mail screenshots docs lint format lock setup clean

demo: setup
	@$(BIN)/python -m local_stack demo $(ARGS)

# WORKERS=0 runs all in one process.
WORKERS ?= 2
test: setup
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

# What takes minutes, most of it in tests/faults and tests/model; SEED=<n> repeats a random schedule, MINUTES=<n> is how long one lasts.
faults: setup
	@$(BIN)/python -m pytest -m long $(ARGS)

# Real mail servers take the mail of a running stack, and what they return comes back; needs root. ARGS=exim: that one alone.
peers: setup
	@$(BIN)/python -m tests.peers $(ARGS)

# Looks for mails that break a promise of bounce-ingest, for so many seconds.
SECONDS ?= 60
fuzz: setup
	@$(BIN)/python -m tests.fuzz $(SECONDS)

# ONLY=<pattern> runs the benches of that name, e.g. ONLY=publish or ONLY='consume*'.
bench: setup
	@$(BIN)/python -m tests.bench $(ONLY)

# Has Debian's mail servers write the reports of tests/data/servers anew; needs root.
returned-mail: setup
	@$(BIN)/python -m tests.returned_mail $(ARGS)

# How returned mail is understood, beside other parsers: CORPUS=<folder with a manifest.jsonl>, ARGS=--json for machines.
CORPUS ?= ../shared/corpus/bounces
bounce-report: setup
	@$(BIN)/python -m tests.bounces $(CORPUS) $(ARGS)

# The documents as a site, in .local/site.
docs: setup
	@$(BIN)/zensical build --strict

# The README's pictures, taken anew from a running stack.
screenshots: setup
	@$(BIN)/python -m local_stack pictures

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# After a change of a dependency: resolve anew and write down what an install uses, and what an image of the services.
SERVICES := tracepost-sender tracepost-pixel tracepost-bounce-ingest tracepost-status-store
lock: setup
	$(BIN)/uv lock --upgrade
	$(BIN)/uv export --quiet --all-packages --no-hashes --no-header --no-annotate --output-file requirements.txt
	$(BIN)/uv export --quiet $(SERVICES:%=--package %) --no-dev --no-emit-workspace --no-hashes --no-header --no-annotate \
		--output-file deploy/requirements.txt

setup: .venv/installed

.venv/installed: requirements.txt pyproject.toml $(wildcard */pyproject.toml */*/pyproject.toml)
	@deploy/local/setup "$(PYTHON)"
	@touch $@

clean:
	rm -rf .venv .local .cache .mypy_cache .pytest_cache .ruff_cache
