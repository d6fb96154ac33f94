# `make demo` and `make test` do all their own set-up; the only needs are Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

help:  ## Show what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 16

demo: $(INSTALLED)  ## Stage an incident on a real PostgreSQL server and report on it: reports/demo/index.html
	$(BIN)/kit demo

test: $(INSTALLED)  ## Most tests: real servers, a real browser, the notebooks against their outputs
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python -m pytest -p no:randomly --nbval --nbval-current-env notebooks

test-slow: $(INSTALLED)  ## Whole incidents, faults of runs, failing connections, poolers and connectors
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow and not matrix'

check: $(INSTALLED)  ## Formatting, lint, types, and who may import whom; seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test-matrix: $(INSTALLED)  ## The same faults found on PostgreSQL 13 to 18
	$(BIN)/python -m pytest -n 2 --dist loadfile -m matrix

fuzz-access: $(INSTALLED)  ## Compare `kit access` with PostgreSQL on random catalogs: SECONDS=600 or SEEDS=109,200-220, VERSION=13
	$(BIN)/python -m tests.fuzz_access $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(VERSION),--version $(VERSION))

test-wheel: $(INSTALLED)  ## Build the wheel, install it elsewhere into clean environments, and use it
	$(BIN)/python -m pytest -m wheel

bench: $(INSTALLED)  ## Ratios measured in one run on a catalog of 10,000 tables
	$(BIN)/python -m tests.bench

record: $(INSTALLED)  ## Make the recorded bundle and the notebooks' outputs anew
	$(BIN)/python -m tests.record

lab: $(INSTALLED)  ## Open JupyterLab on the demo's working copies
	$(BIN)/kit lab demo

constraints: $(INSTALLED)  ## Refresh constraints.txt (names no index, so that any mirror serves)
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate --quiet --all-extras --group dev pyproject.toml -o constraints.txt

# pip refuses hashes together with -e, so the dependencies come first and the package by itself.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" .venv && \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r constraints.txt && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $@

.PHONY: help demo test test-slow check test-matrix fuzz-access test-wheel bench record lab constraints
