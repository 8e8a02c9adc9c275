# `make quickstart` and `make test` set .venv up first, if needed.
.PHONY: setup quickstart test

PYTHON3 ?= python3
RUN = .venv/bin/python
# Left to the shell, which takes spaces and quotes in them as they are.
export IMAGES COCO COCO_IMAGES
QUICKSTART_ARGS = $${IMAGES:+--images "$$IMAGES"} \
    $${COCO:+--coco "$$COCO"} \
    $${COCO_IMAGES:+--coco-images "$$COCO_IMAGES"}

setup:
	@$(if $(PYTHON),PYTHON="$(PYTHON)") $(PYTHON3) tools/setup_env.py

# The main job end to end; your own images: IMAGES=folder COCO=file.json
# COCO_IMAGES=folder
quickstart: setup
	@$(RUN) tools/quickstart.py $(QUICKSTART_ARGS)

test: setup
	@$(RUN) -m pytest -q --durations=10
