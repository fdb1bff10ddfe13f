# The house's commands. On a fresh machine `make boot` and `make test` do all their set-up themselves.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)

PYPROJECTS := core/pyproject.toml $(wildcard plugins/*/*/pyproject.toml)
INSTALLED  := $(VENV)/.installed
PYTEST     := $(BIN)/python -m pytest
# Installers write bytecode for what they copy, but not for editable packages; starting without takes twice as long.
COMPILE    := $(BIN)/python -m compileall -q core/jefeos plugins
# More workers than a small machine has processors: many tests wait for a peer, a timer, somebody at a terminal. Each
# worker begins with its share of the tests in their order, so that what a file makes for its tests is made once.
WORKERS    ?= 3

.PHONY: help venv boot test test-long fuzz bench scoreboard suites cpython lint format clean

help:
	@echo 'make boot       set up and boot to a prompt      (ARGS="--root DIR" and so on)'
	@echo 'make test       set up and run the tests         (ARGS="-k pipe" and so on)'
	@echo 'make test-long  the tests with their long campaigns'
	@echo 'make fuzz       damaged volumes of every format, 450,000 cases (hours; ARGS="--format ntfs --cases 1000")'
	@echo 'make suites     test suites of Debian packages on JefeOS and on the host, a table (up to an hour; ARGS=--quick)'
	@echo 'make cpython    test files of CPython on JefeOS and on the host, a table (half an hour; ARGS="--short" or test_os)'
	@echo 'make bench      run the benchmarks, print a table'
	@echo 'make scoreboard  what runs as on Linux, beside the host: a table, and build/scoreboard.json (ARGS=calls)'
	@echo 'make lint       ruff, and mypy (strict on core)'
	@echo 'make venv       only set up .venv, with .venv/bin/jefeos'

venv: $(INSTALLED)

# Some systems ship Python without ensurepip: then the pip of that Python fills the environment.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'make: Python 3.11 or later is needed (set PYTHON=...)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

# hatchling goes in first and serves all packages at once, so that none of them builds an environment of its own.
$(INSTALLED): requirements-dev.txt pyproject.toml $(PYPROJECTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'hatchling>=1.21'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -r requirements-dev.txt
	$(COMPILE)
	@touch $@

boot: $(INSTALLED)
	@$(BIN)/jefeos boot $(ARGS)

test: $(INSTALLED)
	$(PYTEST) -n $(WORKERS) --dist worksteal $(ARGS)

test-long: $(INSTALLED)
	$(PYTEST) -n $(WORKERS) --dist worksteal --long $(ARGS)

fuzz: $(INSTALLED)
	@$(BIN)/python tests/filesystems/fuzz_volumes.py $(ARGS)

bench: $(INSTALLED)
	@$(COMPILE)
	@$(BIN)/jefeos bench $(ARGS)

scoreboard: $(INSTALLED)
	@$(BIN)/python tests/scoreboard $(ARGS)

suites: $(INSTALLED)
	@cd tests && ../$(BIN)/python -m suites $(ARGS)

cpython: $(INSTALLED)
	@$(BIN)/python tests/cpython/cpython_table.py $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
