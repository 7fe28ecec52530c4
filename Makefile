# Everything runs in .venv, which is made from requirements.lock. `make help` lists the targets.

PORT ?= 8000
MODEL ?= facenet-casia-webface
WEIGHTS ?= $(MODEL:facenet-%=%)
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.10,$(shell python$(v) -c 'print("python$(v)")' 2>/dev/null)))

BIN := .venv/bin
MODEL_FILE := triton/models/$(MODEL)/1/model.pt

.DEFAULT_GOAL := help
.PHONY: help install model run test unit check bench bench-gallery bench-fpir format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "PORT=9000 and MODEL=facenet-vggface2 can be set for run; WEIGHTS=PATH for model."

install: .venv/installed ## make .venv from the lock

# --require-hashes: what is installed is what was locked, or nothing.
.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed, and none was found." >&2; exit 1; }
	@echo "Installing into .venv with $(PYTHON): about two minutes and 6.5 GB, once ..."
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make a virtual environment; install its venv package." >&2; exit 1; }
	@$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements.lock \
		|| { echo "The packages could not be installed: is there a network, and room on the disk? Run make again to go on." >&2; exit 1; }
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

model: $(MODEL_FILE) ## trace FaceNet into Triton's model repository

$(MODEL_FILE): | .venv/installed
	@$(BIN)/python triton/trace_model.py --weights $(WEIGHTS) --name $(MODEL)

run: install model ## run the whole service on this machine, until Ctrl-C
	@exec $(BIN)/faces up --port $(PORT) --model $(MODEL)

test: check model ## run all tests, on servers of their own
	$(BIN)/python -m pytest

unit: install ## run the tests that need no server
	$(BIN)/python -m pytest tests/unit

check: install ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install model ## measure against facenet-pytorch, into docs/bench.md
	GOMP_SPINCOUNT=3000 $(BIN)/python -m tests.bench.pipeline --out docs/bench.md

bench-gallery: install model ## measure the gallery, into docs/bench-gallery.md
	$(BIN)/python -m tests.bench.gallery --out docs/bench-gallery.md

bench-fpir: install model ## measure how often strangers are named as a gallery grows
	$(BIN)/python -m tests.bench.fpir $(if $(PHOTOS),--photos $(PHOTOS))

format: install ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve the dependencies anew into requirements.lock (needs uv)
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --extra local --extra report --extra dev pyproject.toml -o requirements.lock

clean: ## remove what make made, but not what was enrolled
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis triton/models/*/1
