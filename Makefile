# `make demo` and `make test` work as the first command on a machine with Python 3.11 or newer, make and access to PyPI.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The first Python on the path that the project runs on (a name alone proves nothing: version managers leave stubs).
PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.13 python; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$name; break; }; done)
export UV_PROJECT_ENVIRONMENT := $(abspath $(VENV))
STAMP := $(VENV)/.synced
PARITY_STAMP := $(VENV)/.synced-databricks
DOCS_STAMP := $(VENV)/.synced-docs
# A file's tests share what is costly to make; the longest come first, so that short ones fill up the end.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# By this editors complete and check the config.yml of a use case.
SCHEMA := use_cases/config.schema.json

.PHONY: help setup demo test test-slow tutorial parity parity-client parity-contract parity-slow lint format check reference docs bench sbom audit clean clean-home

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 on the path. Install one, or: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(STAMP): pyproject.toml uv.lock | $(BIN)/uv
	$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python --extra local --extra samples --extra dev
	@touch $@

$(PARITY_STAMP): $(STAMP)
	$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python --extra local --extra samples --extra dev --extra databricks
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python --extra local --extra samples --extra dev --extra docs
	@touch $@

setup: $(STAMP) $(SCHEMA) ## Make .venv, install what the lock file says, and write the schema for editors

$(SCHEMA): $(wildcard platform/mlplatform/config/*.py) platform/mlplatform/task.py | $(STAMP)
	$(BIN)/mlplatform config schema > $@

demo: $(STAMP) ## Replay credit risk by quarter, 2006 to 2012, and write the report
	$(BIN)/mlplatform simulate credit_risk

test: $(STAMP) ## Run the tests, on up to four processors
	$(BIN)/pytest $(SIDE_BY_SIDE)

test-slow: $(STAMP) ## Run the tests that take long
	$(BIN)/pytest -m 'slow and not parity' $(SIDE_BY_SIDE)

mutants: $(STAMP) ## Plant faults in a copy of the code, one at a time: tests must notice each; takes an hour
	$(BIN)/python tests/faults/plant.py

tutorial: $(STAMP) ## Do all that the tutorial says, in a folder of its own
	$(BIN)/pytest -m slow tests/e2e/test_tutorial.py

# One process: the JVM is started, and gets warm, once for both.
parity: $(PARITY_STAMP) ## Run the Databricks workspace, compare with the real client (needs Java 17)
	$(BIN)/pytest -m 'parity and not slow' --home databricks tests/contract tests/parity

parity-client: $(PARITY_STAMP)
	$(BIN)/pytest -m 'parity and not slow' tests/parity

parity-contract: $(PARITY_STAMP)
	$(BIN)/pytest -m 'parity and not slow' --home databricks tests/contract

parity-slow: $(PARITY_STAMP) ## What takes longest of it: faults on each write, the other sample use cases, more random scenarios
	$(BIN)/pytest -m 'parity and slow' tests/parity
	MLPLATFORM_PARITY_SCENARIOS=400 $(BIN)/pytest -m parity tests/parity/test_training_sets.py tests/parity/test_score_batch.py
	$(BIN)/pytest -m 'parity and slow' --home databricks tests/contract

lint: $(STAMP) ## Lint, check formatting, types, import contracts and the bundle's files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mlplatform bundle generate --check

format: $(STAMP) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## Everything a change must pass

reference: $(STAMP) ## Write the pages and pictures that are made from the code: commands, settings, errors, names
	$(BIN)/python -m docs.tools.reference

docs: $(DOCS_STAMP) ## Build the documentation into build/docs; every warning is an error
	$(BIN)/python -m docs.tools.reference --check
	rm -rf build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky --conf-dir docs --doctree-dir build/doctrees . build/docs

bench: $(STAMP) ## Run the benchmarks that have a target, and print one table; takes an hour
	$(BIN)/python tests/benchmarks/bench.py

sbom: $(STAMP) ## Write what the project is made of to dist/mlplatform.cdx.json, in CycloneDX
	UV=$(BIN)/uv bash .ci/sbom dist/mlplatform.cdx.json

audit: $(STAMP) ## Look for weaknesses: of the code (bandit), and known ones of what the lock file installs; needs an index
	UV=$(BIN)/uv bash .ci/bandit
	UV=$(BIN)/uv bash .ci/audit

clean: ## Remove what is made anew: the environment, caches and builds; no data
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-home: ## Delete the local workspace: .mlplatform, its tables, models and reports
	@test ! -d .mlplatform || du -sh .mlplatform
	rm -rf .mlplatform
