# The two commands: `make demo` (set up, run the main job) and `make test` (set up, pass the tests).
PYTHON      ?= python3
VENV        ?= .venv
# What pip may not exceed. The default pins the torch build that CI uses; `make CONSTRAINTS= install` takes your own.
CONSTRAINTS ?= constraints.txt
# How many processes share the tests, a file each.
JOBS        ?= 2
# How many faults a crash run injects, and the seed of their schedule.
FAULTS      ?= 200
SEED        ?= 1
PIP_FLAGS    = --disable-pip-version-check -q $(if $(strip $(CONSTRAINTS)),-c $(CONSTRAINTS))
BIN          = $(VENV)/bin
PY           = $(BIN)/python

.PHONY: help install install-dev demo test check fuzz crash up schema clean

help:
	@echo "make demo     set up .venv and run examples/digits.yaml: a Pareto front of real models, in minutes"
	@echo "make test     set up .venv and run the tests"
	@echo "make check    ruff, mypy, import-linter"
	@echo "make fuzz     hostile input against HTTP, study files and messages, many times (FUZZ=3000)"
	@echo "make crash    the long crash runs: 200 faults on SQLite and, where there is one, PostgreSQL; figures in out/crash"
	@echo "make up       broker, daemon, two workers and the page on this machine, until Ctrl-C"
	@echo "make install  set up .venv only (CONSTRAINTS= for your own build of torch)"
	@echo "make clean    remove .venv, caches and out/"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "searchd needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1); set PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/pip install $(PIP_FLAGS) -e '.[local]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/pip install $(PIP_FLAGS) -e '.[local,dev]'
	@touch $(VENV)/.local $@

install: $(VENV)/.local

install-dev: $(VENV)/.dev

demo: install
	$(BIN)/searchd run examples/digits.yaml $(ARGS)

test: install-dev
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# How many inputs each test of `make fuzz` tries; schemathesis a thirtieth of it for each route.
FUZZ ?= 3000

fuzz: install-dev
	SEARCHD_FUZZ=$(FUZZ) $(PY) -m pytest -q -s --timeout 7200 tests/fuzz tests/engine/test_forged.py $(ARGS)

crash: install-dev
	$(PY) -m tests.crash --database sqlite --faults $(FAULTS) --seed $(SEED) $(ARGS)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { echo "no PostgreSQL here: SQLite only"; exit 0; }; \
	  $(PY) -m tests.crash --database postgres --faults $(FAULTS) --seed $(SEED) $(ARGS)

up: install
	$(BIN)/searchd serve --local $(ARGS)

schema: install
	$(PY) -P -m spaces.schema

clean:
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
