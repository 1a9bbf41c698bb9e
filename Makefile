# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATE ?= .spindle
EXTRAS := dev
SEED ?= 1
N ?= 200
# uv does not read pip's settings: a local folder of wheels that pip knows is handed on.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
export OMP_WAIT_POLICY := PASSIVE
# Processes start two to three times faster with the modules compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos check up bench bench-control bench-fanout model experiments starter lock clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): about a minute the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install --quiet uv -c constraints.txt; then \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]'; \
	else \
		$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'; \
	fi
	@touch $@

setup: $(VENV)/.installed  ## Make .venv with everything, from constraints.txt.

demo: setup  ## Upload pictures, fine-tune by SFT and by self-play, write demo-report.html (15 minutes).
	$(BIN)/spindle demo --out demo-report.html

test: setup  ## Run the whole test suite, a process a core.
	$(BIN)/python -m pytest -n logical --dist worksteal

chaos: setup  ## Break a real stack at N seeded moments and check that nothing was lost (SEED=1 N=200).
	$(BIN)/python -m tests.chaos --seed $(SEED) --faults $(N)

check: setup  ## Lint, format, types, import contracts, architecture.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_architecture.py

up: setup  ## Run the platform on this machine until Ctrl-C.
	$(BIN)/spindle up --state $(STATE)

bench: setup  ## Measure Spindle's step and sampler against their bare cost.
	$(BIN)/python -m bench

bench-fanout: setup  ## Measure what more workers are worth.
	$(BIN)/python -m bench fanout

bench-control: setup  ## Measure the database side with 100,000 jobs against 1,000 (minutes, 4 GB of disk).
	$(BIN)/python -m bench.control

model: setup  ## Hold jobs and units against their plain model for 2,000 steps (minutes).
	MODEL_STEPS=2000 $(BIN)/python -m pytest tests/core/runs/test_model.py -s --timeout=0

experiments: setup  ## Repeat the search and the confirmation of docs/experiments (hours).
	$(BIN)/python examples/emoji/experiments/search.py
	$(BIN)/python examples/emoji/experiments/search.py --confirm

starter: setup  ## Rebuild the starter's data and weights from packages (needs npm; hours).
	$(BIN)/python examples/emoji/recipe/pictures.py build/emoji
	$(BIN)/python examples/emoji/recipe/train_autoencoder.py build/emoji
	$(BIN)/python examples/emoji/recipe/train_judge.py build/emoji
	$(BIN)/python examples/emoji/recipe/train_base.py build/emoji

lock: setup  ## Rewrite constraints.txt from pyproject.toml.
	UV_FIND_LINKS= $(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-header \
		--no-annotate --no-emit-find-links --no-emit-index-url --quiet pyproject.toml -o constraints.txt

clean:  ## Remove what the targets made, the environment included.
	rm -rf $(VENV) build .spindle demo-report.html demo-report.png *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
