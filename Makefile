# The first Python of these that is new enough makes the environment; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PROJECTS := pyproject.toml tokenizer/pyproject.toml
# The build backends are installed first, so that the constraints hold for them, too: setuptools is that
# of some packages of lm_eval, which come as sources.
PIP := $(BIN)/pip --quiet --disable-pip-version-check install -c constraints.txt
INSTALL = $(PIP) hatchling editables setuptools && $(PIP) --no-build-isolation -e ./tokenizer

.PHONY: help demo test lint format bench bench-tokenizer release clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: .venv/installed ## train a small GPT-2 on text that ships with Python, and sample from it
	$(BIN)/gpt2 demo

test: .venv/installed-dev lint ## lint, types, and the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile # a process a core, of one thread

lint: .venv/installed-dev ## ruff, mypy and import-linter
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev ## rewrite the code in the project's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: bench-tokenizer ## measure against peers, side by side
	$(BIN)/python benchmarks/data.py
	$(BIN)/gpt2 bench train --against transformers,nanogpt-like

bench-tokenizer: .venv/installed-bench ## encoding, decoding and training a tokenizer, beside peers
	$(BIN)/python benchmarks/tokenizer.py
	$(BIN)/python benchmarks/tokenizer_threads.py
	$(BIN)/python benchmarks/tokenizer_first_call.py
	$(BIN)/python benchmarks/tokenizer_training.py

release: .venv/bin/python ## build both distributions into dist/, and try each in an empty environment
	PYTHON=$(CURDIR)/$(BIN)/python .ci/release

clean: ## remove the environment and the caches; runs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed; none found"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/installed: .venv/bin/python $(PROJECTS) constraints.txt
	$(INSTALL) -e '.[serve]'
	@touch $@

.venv/installed-dev: .venv/bin/python $(PROJECTS) constraints.txt
	$(INSTALL) -e '.[dev]'
	@touch $@ .venv/installed

.venv/installed-bench: .venv/installed-dev
	$(INSTALL) -e '.[dev,bench]'
	@touch $@
