# Every target makes its own environment first: nothing is needed but Python 3.11 or newer, and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp-$(shell cat pyproject.toml constraints.txt 2>/dev/null | cksum | cut -d' ' -f1)
DEMO   ?=

.PHONY: help demo test lint types unit smoke coverage bench clean

help:            ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "replica needs Python 3.11 or newer"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install python3-venv (Debian) and try again"; exit 2; }
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip --quiet install -c constraints.txt -e '.[bench]' --group dev
	@rm -f $(VENV)/.stamp-* && touch $@

demo: $(STAMP)   ## three zones, two Samu, a killed leader, a cut line, nothing lost (DEMO="--seed 7" to pass options)
	@$(BIN)/replica demo $(DEMO)

test: lint types unit smoke ## everything CI runs: lint, format, types, tests, and a short demo

lint: $(STAMP)   ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy --strict
	@$(BIN)/mypy

unit: $(STAMP)   ## pytest, warnings are errors
	@$(BIN)/python -m pytest -q -n 2

smoke: $(STAMP)  ## the demo once, without a terminal
	@$(BIN)/replica demo --seed 1

coverage: $(STAMP) ## every branch of raft/ and cases/ taken by a test; names those that are not, and fails
	@$(BIN)/coverage run --branch -m pytest -q -n 0 -p no:cacheprovider --hypothesis-seed=0 \
	  tests/raft tests/cases tests/offline tests/hubsante; tests=$$?; \
	  $(BIN)/coverage report --include='replica/raft/*,replica/cases/*' --show-missing --skip-covered --fail-under=100 \
	  && exit $$tests

bench: $(STAMP)  ## every figure on this machine in five minutes (BENCH="failover --trials 30" for one of them)
	@$(BIN)/python -m bench $(or $(BENCH),all --quick)

clean:           ## remove the environment and the caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
