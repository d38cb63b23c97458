# `make demo` and `make test` each set up all they need, in a virtual environment of the checkout.
# Every file in constraints/ is a set of versions: `make test` tests with the newest, `make test-NAME` with another,
# `make test-oldest PYTHON=python3.10 SUFFIX=-python3.10` with another Python as well, in an environment of its own.
PYTHON ?= python3
SET := newest
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints/$(SET).txt
EXTRAS := dev
SETS := $(basename $(notdir $(wildcard constraints/*.txt)))

.PHONY: demo test lint format versions test-sets pytest clean

demo: $(VENV)/installed
	rm -rf results/demo
	$(BIN)/nlf-sb3 reproduce --seeds 2 --jobs 2 --scale 0.7 --out results/demo

test: $(VENV)/installed lint pytest

pytest: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --record-set $(SET)$(SUFFIX)

test-%: constraints/%.txt
	$(MAKE) pytest SET=$* VENV=.venv-$*$(SUFFIX) EXTRAS=test

test-sets: test $(filter-out test-newest,$(addprefix test-,$(SETS)))

# The README's table of versions, from what the last tests of each set ran with.
versions: $(VENV)/installed
	$(BIN)/python docs/versions.py write

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# imitation 1.0.1 pins Stable-Baselines3 to 2.2 and 1.0.0 Gymnasium to 0.29: beside newer ones it goes in without its pins.
$(VENV)/installed: pyproject.toml constraints/$(SET).txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
		|| (echo "Python 3.10 to 3.12 is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[$(EXTRAS)]'
	$(INSTALL) --no-deps imitation
	touch $@

clean:
	rm -rf .venv .venv-* results
