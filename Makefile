# Two commands do everything: `make demo` and `make test`. Both make .venv and install there once;
# they install again when pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench

demo: $(VENV)/installed
	rm -rf demo-out
	$(BIN)/shorematch demo --out demo-out

# Work is stolen from the end of another's share, so neighbours mostly stay with their programs.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

check: $(VENV)/installed-check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-test
	@set -e; for script in $(filter-out page,$(basename $(notdir $(wildcard benchmarks/[!_]*.py)))) page; do \
	    echo "== $$script"; $(BIN)/python -m benchmarks.$$script; \
	done

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/installed-%: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	@touch $@
