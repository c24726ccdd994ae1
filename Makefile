# Two commands for a fresh clone, each complete in itself:
#   make quickstart   the embedded experiment: full fine-tuning, LoRA and head-only on real text
#   make test         linters, types, import contracts, tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test clean

# Rebuilt whenever what it is made from changes; the stamp is written last, so a half-made environment is made again.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[quickstart,dev]"
	touch $@

quickstart: $(VENV)/ready
	$(BIN)/loralab quickstart

test: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2

clean:
	rm -rf $(VENV)
