# make demo    the whole chain on a real clip; leaves demo/report.html and demo/enhanced.mp4
# make test    the tests
# make check   lint, format and types
# make clean   remove what the above made
#
# Each sets up .venv first (needs python3 >= 3.10 with venv, and make); a second
# run reuses it. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
# What continuous integration has besides: make test EXTRAS=...,cluster,spandrel,train,rtx
EXTRAS ?= build,demo,test,dev,web
VENV := .venv
BIN := $(VENV)/bin
# One stamp per set of extras: what was asked for is there.
COMMA := ,
READY := $(VENV)/.ready-$(subst $(COMMA),-,$(EXTRAS))
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# TensorRT's types, without the package that they name as their dependency: it holds gigabytes.
STUBS := tensorrt-stubs>=10.13,<11
SAY := @printf '== %s\n'

.DEFAULT_GOAL := help
.PHONY: help setup demo test check clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

setup: $(READY)

# The stamp is written last: a set-up that was cut off is done again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "acf-edge needs Python 3.10 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 2; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || { echo "== 1/3 virtual environment in $(VENV)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(SAY) "2/3 torch (the large one)"
	@$(PIP) install -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(SAY) "3/3 acf-edge and what building, the demo and the tests need"
	@$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
	$(SAY) "set up; the next run starts here"

demo: $(READY)
	@$(BIN)/acf-edge demo --out demo

test: $(READY)
	@$(BIN)/python -m pytest -q

check: $(READY)
	$(SAY) "ruff check"
	@$(BIN)/ruff check .
	$(SAY) "ruff format --check"
	@$(BIN)/ruff format --check .
	$(SAY) "mypy --strict"
	@$(PIP) install --no-deps '$(STUBS)'
	@$(BIN)/python tests/mend_stubs.py
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
