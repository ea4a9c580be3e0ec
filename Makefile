# Each target sets up what it needs, in .venv, from nothing but Python 3.11 or newer. No root.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for programs a third of their time: two cores have work for three workers.
WORKERS ?= 3
SEEDS ?= 100
FIRST ?= 1
CHAOS ?= --first $(FIRST) --seeds $(SEEDS)

# Every test starts programs: without their bytecode each would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint format faults chaos wheel-test clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.local ## Transcribe a short recording with the service built in
	@echo "Uploading fixtures/spoken.mp4 to a service on this machine and waiting for its transcript:"
	@mkdir -p build/demo
	@SPEECHSTREAM_STATE_DIR=build/demo/state $(BIN)/speechstream transcribe --local --new \
	    fixtures/spoken.mp4 -o build/demo/transcript.txt
	@$(BIN)/python fixtures/word_score.py fixtures/spoken.txt --at-least 90 < build/demo/transcript.txt

test: $(VENV)/.test ## Run every test that needs nothing but this machine
	@echo "Running the tests, $(WORKERS) at a time; those that need foreign programs say so and are skipped:"
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal

lint: $(VENV)/.test ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test ## Put the code into its standard form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

faults: $(VENV)/.test ## Kill client and service again and again over a 2 GB upload, and judge the result
	$(BIN)/python -m tests.faults.kills --size 2G --kills 10
	$(BIN)/python -m tests.faults.kills --size 2G --kills 0 --server-kills 5

chaos: $(VENV)/.test ## Drive the command through SEEDS scenarios drawn from seeds (make chaos SEEDS=1000)
	@mkdir -p build
	$(BIN)/python -m tests.faults.chaos $(CHAOS) --jobs $(WORKERS) > build/chaos.jsonl

wheel-test: $(VENV)/.test ## Build the wheel, install it into an empty environment, and do the main job from there
	.ci/wheel-test $(BIN)/python

clean: ## Remove everything that make has made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) (once):"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[local]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[local,keyring,test]'
	@touch $@ $(VENV)/.local
