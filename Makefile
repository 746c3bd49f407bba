# `make demo` needs make and Python 3.11 with venv; everything else is fetched into .venv.

PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
SOURCES := resonate_amqp tests $(wildcard examples)
EVERYDAY := not (rabbitmq or postgres or processes or docker or chaos or benchmark)
BROKER := (rabbitmq or postgres or processes) and not (smoke or docker or chaos or benchmark)
PIP := $(BIN)/python -m pip --quiet

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo venv install-dev system check test wheel chaos bench clean

help:
	@echo 'make demo     a call that survives a crash, in this terminal'
	@echo 'make check    format, lint, types, floors, everyday tests, one real broker (2 minutes)'
	@echo 'make test     check, every test with real brokers and processes, the wheel (10 minutes)'
	@echo 'make chaos    break things at random'
	@echo 'make bench    measure'
	@echo 'make system   install rabbitmq-server and PostgreSQL for the tests, or say how'
	@echo 'make clean    remove what the other targets made'

demo: .venv/.package
	@$(BIN)/resonate-amqp demo

venv: $(BIN)/python

install-dev: .venv/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "resonate-amqp needs Python 3.11 or later; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || true). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	@rm -rf .venv
	@$(PYTHON) -m venv .venv

.venv/.package: pyproject.toml | $(BIN)/python
	@echo 'Installing resonate-amqp into .venv (once).'
	@$(PIP) install --editable .
	@touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	@echo 'Installing resonate-amqp and its development tools into .venv (once).'
	@$(PIP) install --editable '.[dev,postgres,examples]'
	@touch $@ .venv/.package

system:
	@.ci/system

check: system .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q -m "$(EVERYDAY)"
	$(BIN)/python -m pytest -q -m smoke

test: check
	$(BIN)/python -m pytest -q -m "$(BROKER)"
	@$(MAKE) --no-print-directory wheel
	@listing=$$($(BIN)/python -m pytest --collect-only -q -m docker); \
	  echo "Tests that need Docker (marked docker), not run: $$(grep -c "::" <<<"$$listing")"

wheel: .venv/.dev
	@rm -rf build/wheel build/empty
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip --quiet install build/wheel/*.whl
	cd build/empty && bin/resonate-amqp demo

chaos: system .venv/.dev
	$(BIN)/python -m pytest -q -m chaos --timeout 0

bench: system .venv/.dev
	$(BIN)/python -m pytest -q -s -m benchmark --timeout 0

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
