# make demo    the main job, from nothing to a table of results
# make test    all tests
# make lint types
# Another Python than python3: make demo PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types

demo: .venv/made
	$(BIN)/metamine train

test: .venv/made-dev
	$(BIN)/python -m pytest --numprocesses 2

lint: .venv/made-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/made-dev
	$(BIN)/mypy

.venv/made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "metamine needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@echo "installing metamine into .venv, once; this takes a minute or two"
	$(PYTHON) -m venv --clear .venv
	$(PIP) --editable '.[plots]'
	touch $@

.venv/made-dev: .venv/made
	$(PIP) --editable '.[dev]'
	touch $@
