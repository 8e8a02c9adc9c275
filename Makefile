# `make quickstart`, `make lint` and `make test` set .venv up first, if needed.
.PHONY: setup quickstart lint test

SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || echo python3)
RUN = .venv/bin/python
# Left to the shell, which takes spaces and quotes in them as they are.
export IMAGES COCO COCO_IMAGES
QUICKSTART_ARGS = $${IMAGES:+--images "$$IMAGES"} \
    $${COCO:+--coco "$$COCO"} \
    $${COCO_IMAGES:+--coco-images "$$COCO_IMAGES"}

# The main job end to end; your own images: IMAGES=folder COCO=file.json
# COCO_IMAGES=folder
quickstart: setup
	@$(RUN) tools/quickstart.py $(QUICKSTART_ARGS)

lint: setup
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

# Each worker begins with a stretch of neighbours, so that most module fixtures are made once.
test: lint
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n auto --dist worksteal --durations=10

# Set-up: a stamp for each stage, touched last, so that a stage half made never counts. A stage
# is done anew where its requirements have changed, or where a stage before it was.
S = .venv/setup/
OWN := $(S)own.$(shell pwd | cksum | tr -cd 0-9)  # another one in a folder moved or copied
WORDS = what $(filter-out $(S)%,$^) asks for, less than a minute
PIP = $(RUN) -m pip --disable-pip-version-check install -c requirements/torch.txt \
    $(patsubst %,-r %,$(filter %.txt,$^))
# Of what pip says, what takes long; its errors are on stderr, which is left as it is.
INSTALL = echo '[setup] $(basename $(@F)): $(WORDS)'; $(PIP) $(1) \
    | { grep --line-buffered -E 'Downloading .* [MG]B|Building|still running' || :; } \
    && echo "[setup] $(basename $(@F)): done in $$SECONDS s"
MMCV_WORKS = $(RUN) -I -c 'import torch; from mmcv.ops import nms'

setup:  # one at a time
	@trap 'echo "[setup] not finished: run this again to go on from here" >&2' EXIT; \
	flock Makefile $(MAKE) --no-print-directory --silent $(OWN) && trap - EXIT
	@echo '[setup] .venv is ready'

$(S)venv:
	python=$$([ -e $(RUN) ] && echo $(RUN) || echo "$(PYTHON)"); \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "[setup] error: $$python is not a Python 3.11 with its modules venv and ensurepip" \
	    "(Debian, Ubuntu: package python3.11-venv). Name one that is, with PYTHON=...;" \
	    "a .venv made by another Python must be removed first." >&2; exit 1; }
	$(RUN) -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv .venv
	mkdir -p $(S) && touch $@

$(S)torch: private WORDS = a few GB to download, a minute or so
$(S)torch: $(S)venv requirements/torch.txt
$(S)build: $(S)torch requirements/build.txt
$(S)mmcv: private WORDS = C++ to compile, about 8 minutes on 2 cores (seconds if pip has it in its cache)
$(S)mmcv: export MAX_JOBS ?= $(shell nproc)
$(S)mmcv: $(S)build requirements/mmcv.txt
	$(call INSTALL,--no-build-isolation)
	$(MMCV_WORKS) || { echo '[setup] mmcv does not load: made anew, without the cache'; \
	    $(call INSTALL,--no-build-isolation --no-cache-dir --force-reinstall --no-deps) \
	    && $(MMCV_WORKS); }
	touch $@
$(S)mmlab: $(S)mmcv requirements/mmlab.txt
$(S)tests: $(S)mmlab $(patsubst %,requirements/%.txt,tests optional tensorboard runtime)
$(S)torch $(S)build $(S)mmlab $(S)tests:
	$(INSTALL) && touch $@
$(OWN): $(S)tests setup.py pyproject.toml dense_ssl/version.py
	rm -f $(S)own.*
	$(call INSTALL,--no-deps --no-build-isolation -e .)
	$(RUN) -m pip check && touch $@
