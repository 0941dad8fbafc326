# `make` alone lists the targets. ARGS is passed on: make run ARGS="--once --json"

PYTHON ?= python3
UV ?= uv
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready-to-run
TEST_READY := $(VENV)/.ready-to-test
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test chaos check bench bench-holds pictures golden lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN_READY) ## Start the whole stack in this terminal (ARGS="--once" feeds the samples and ends)
	@$(BIN)/python -m standalone $(ARGS)

test: $(TEST_READY) ## Run the tests (ARGS="tests/domain -q" for a part)
	@PYTEST_ADDOPTS="--numprocesses 2 --dist loadfile" $(BIN)/python -m pytest $(ARGS)

chaos: $(TEST_READY) ## Race 500 decisions against the expiry of their holds (ARGS="--trials 5000" for more)
	@$(BIN)/python -m pytest tests/workflows/test_expiry_race.py --trials 500 $(ARGS)

check: $(TEST_READY) ## Lint, formatting, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(RUN_READY) ## Measure the overhead beside a bare Workflow (ARGS=--json for machines)
	@$(BIN)/python -m standalone.bench $(ARGS)

bench-holds: $(RUN_READY) ## Measure with 10,000 requests held at once (about half an hour; ARGS="--holds 500")
	@$(BIN)/python -m standalone.hold_bench $(ARGS)

pictures: $(TEST_READY) ## Take the pictures of the console that the documents show (needs chromium)
	@$(BIN)/python -m tests.browser.pictures

golden: $(TEST_READY) ## Capture golden histories of new paths; read CONTRIBUTING.md first
	@$(BIN)/python -m tests.replay.capture $(ARGS)

lock: ## Resolve pyproject.toml into the two lock files (needs uv; ARGS=--upgrade for newer versions)
	@command -v $(UV) > /dev/null || { echo "uv is missing; run: $(PYTHON) -m pip install uv" >&2; exit 1; }
	@$(LOCK) --output-file requirements.lock
	@$(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

LOCK = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(ARGS)

clean: ## Remove the virtual environment and the caches; var/ stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo "Sluice needs Python 3.11 or newer, and '$(PYTHON)' is not; name another: make PYTHON=python3.12 …" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments; install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
		exit 1; }
	@echo "Making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# --no-deps and --no-build-isolation: whatever is not in the lock file with its hash is not installed.
$(RUN_READY): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing from requirements.lock"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(TEST_READY): requirements-dev.lock $(RUN_READY)
	@echo "Installing from requirements-dev.lock"
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@
