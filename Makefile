# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATE ?= .spindle
EXTRAS := dev
POLICY := build/policy
SEED ?= 1
N ?= 200
ACCELERATOR ?= cuda
# uv does not read pip's settings: a local folder of wheels that pip knows is handed on.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
export OMP_WAIT_POLICY := PASSIVE
# Processes start two to three times faster with the modules compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos check policy images stack-test up bench bench-control bench-fanout bench-serve bench-upload fuzz model screenshots experiments starter lock clean

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

test: setup  ## Run the whole test suite: a process a core, and one more, because many tests wait.
	$(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)') --dist worksteal

chaos: setup  ## Break a real stack at N seeded moments and check that nothing was lost (SEED=1 N=200).
	$(BIN)/python -m tests.chaos --seed $(SEED) --faults $(N)

screenshots: setup  ## Take the pictures of docs/images from the platform of `make demo`, which has to be run before.
	$(BIN)/python -m tests.browser.album

# checkov's pins and ours exclude each other, so it lives apart.
$(POLICY)/.installed: deploy/policy/constraints.txt | setup
	@test -x $(POLICY)/bin/python || $(BIN)/python -m venv $(POLICY)
	@if test -x $(BIN)/uv; then \
		$(BIN)/uv pip install --quiet --python $(POLICY)/bin/python -r $<; \
	else \
		$(POLICY)/bin/python -m pip install --quiet -r $<; \
	fi
	@touch $@

policy: setup $(POLICY)/.installed  ## Hold every scenario of the chart against checkov's policies.
	$(BIN)/python -m tests.deploy.policy $(POLICY)/bin/checkov

check: setup policy  ## Lint, format, types, import contracts, architecture, the chart's schemas and policies.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_architecture.py tests/deploy/test_chart.py tests/deploy/test_compose.py

images:  ## Build the three images with docker or buildah (ACCELERATOR=cuda or cpu); docs/container-images.md tells more.
	$(PYTHON) -m deploy.images.build --accelerator $(ACCELERATOR)

stack-test: setup  ## Build the images, run docker-compose.yml with docker or podman, use it, drain a worker, take it down.
	$(BIN)/python -m tests.stack

up: setup  ## Run the platform on this machine until Ctrl-C.
	$(BIN)/spindle up --state $(STATE)

bench: setup  ## Measure Spindle's step and sampler against their bare cost.
	$(BIN)/python -m bench

bench-fanout: setup  ## Measure what more workers are worth.
	$(BIN)/python -m bench fanout

bench-serve: setup  ## Measure serving against plain, sequential diffusers: one client, 16, and memory over 20 models.
	env -u OMP_WAIT_POLICY $(BIN)/python -m bench.serve

bench-control: setup  ## Measure the database side with 100,000 jobs against 1,000 (minutes, 4 GB of disk).
	$(BIN)/python -m bench.control

bench-upload: setup  ## Send 5 GB to a real api, in one form and in parts, and watch its memory (minutes, 12 GB of disk).
	$(BIN)/python -m bench.upload

fuzz: setup  ## Fuzz the API, and the readers of archives and tables, with FUZZ_EXAMPLES random cases (an hour).
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),200) $(BIN)/python -m pytest tests/api/test_conformance.py -s --timeout=0
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),20000) $(BIN)/python -m pytest tests/hostile/test_fuzz.py --timeout=0

model: setup  ## Hold jobs, units and gangs against their plain models for more than 2,000 steps (a minute).
	MODEL_STEPS=2400 $(BIN)/python -m pytest tests/core/runs/test_model.py tests/core/runs/test_gangs_model.py -s --timeout=0

experiments: setup  ## Repeat the search and the confirmation of docs/experiments (hours).
	$(BIN)/python examples/emoji/experiments/search.py
	$(BIN)/python examples/emoji/experiments/search.py --confirm

starter: setup  ## Rebuild the starter's data and weights from packages (needs npm; hours).
	$(BIN)/python examples/emoji/recipe/pictures.py build/emoji
	$(BIN)/python examples/emoji/recipe/train_autoencoder.py build/emoji
	$(BIN)/python examples/emoji/recipe/train_judge.py build/emoji
	$(BIN)/python examples/emoji/recipe/train_base.py build/emoji

lock: setup  ## Rewrite constraints.txt from pyproject.toml, and the one of deploy/policy.
	UV_FIND_LINKS= $(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-header \
		--no-annotate --no-emit-find-links --no-emit-index-url --quiet pyproject.toml -o constraints.txt
	UV_FIND_LINKS= $(BIN)/uv pip compile --universal --python-version 3.11 --no-header \
		--no-annotate --no-emit-find-links --no-emit-index-url --quiet deploy/policy/requirements.in -o deploy/policy/constraints.txt

clean:  ## Remove what the targets made, the environment included.
	rm -rf $(VENV) build .spindle demo-report.html demo-report.png *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
