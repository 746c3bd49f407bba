# `make demo` needs make and Python 3.11 with venv; everything else is fetched into .venv.

PYTHON ?= python3
SHELL := /bin/bash
VENV = .venv
BIN := $(VENV)/bin
SOURCES := resonate_amqp tests $(wildcard examples)
SERVERS := rabbitmq or postgres or redis or nodejs or processes
EVERYDAY := not ($(SERVERS) or docker or chaos)
BROKER := ($(SERVERS)) and not (smoke or docker or chaos)
PIP := $(BIN)/python -m pip --quiet

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo venv install-dev system check mutants everyday test wheel oldest chaos bench clean

help:
	@echo 'make demo     a call that survives a crash, in this terminal'
	@echo 'make check    format, lint, types, floors, everyday tests, one real broker (2 minutes)'
	@echo 'make test     check, every test with real brokers and processes, the wheel (10 minutes)'
	@echo 'make chaos    pauses, cuts, ack timeouts, the release before, luck (20 minutes)'
	@echo 'make everyday the tests that need no server, with PYTHON=… and VENV=… of your choice'
	@echo 'make oldest   the retrofits with the oldest Celery and Kombu that are allowed (5 minutes)'
	@echo 'make bench    measure'
	@echo 'make system   install the servers and Node.js that the tests need, or say how'
	@echo 'make clean    remove what the other targets made'

demo: $(VENV)/.package
	@$(BIN)/resonate-amqp demo

venv: $(BIN)/python

install-dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "resonate-amqp needs Python 3.11 or later; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || true). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.package: pyproject.toml | $(BIN)/python
	@echo 'Installing resonate-amqp into $(VENV) (once).'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo 'Installing resonate-amqp and its development tools into $(VENV) (once).'
	@$(PIP) install --editable '.[dev,celery,postgres,examples]'
	@touch $@ $(VENV)/.package

system:
	@.ci/system

check: system $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory everyday
	$(BIN)/python -m pytest -q -m smoke

mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutations

everyday: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n auto -m "$(EVERYDAY)"

test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "$(BROKER)"
	@$(MAKE) --no-print-directory wheel
	@listing=$$($(BIN)/python -m pytest --collect-only -q -m docker); \
	  echo "Tests that need Docker (marked docker), not run: $$(grep -c "::" <<<"$$listing")"

wheel: $(VENV)/.dev
	@rm -rf build/wheel build/empty
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip --quiet install build/wheel/*.whl
	cd build/empty && bin/resonate-amqp demo

oldest: system
	@$(MAKE) --no-print-directory VENV=.venv-oldest install-dev
	.venv-oldest/bin/python -m pip --quiet install 'celery[redis]==5.4.0' 'kombu==5.4.2'
	.venv-oldest/bin/python -m pytest -q -n 2 --dist loadfile -m "not (docker or chaos)" tests/ext

chaos: system $(VENV)/.dev
	$(BIN)/python -m pytest -q -m chaos --timeout 0

bench: system $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks.hop
	$(BIN)/python -m tests.benchmarks.tax

clean:
	rm -rf .venv .venv-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
