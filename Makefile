# People and CI call the same targets; `make help` lists them.

SHELL := /bin/bash
PYTHON ?= python3
REQUIREMENTS := deploy/requirements
BIN := .venv/bin
DEV_BIN := .venv-dev/bin
TFLITE_BIN := .venv-tflite/bin

# A terminal's Ctrl-C would stop make itself as well, with an error: job control gives the program
# the terminal for itself, so that what make reports is how the program ended. The exit is there
# because bash does not fork for its last command.
# $(call foreground,COMMAND)
foreground = if [ -t 0 ]; then set -m; fi; $(1); exit $$?

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@echo "edgeclassifier: image classification for Raspberry Pi, predictions over MQTT"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo
	@echo "  make run CONFIG=my.toml   the daemon on your own configuration"
	@echo "  make run PYTHON=python3.13   with another Python (3.11 or later)"

.PHONY: run
run: .venv/ready ## the demo: sample pictures, a broker of its own, live predictions
	@$(call foreground,$(BIN)/edgeclassifier $(if $(CONFIG),run --config '$(CONFIG)',demo $(ARGS)))

# Most tests wait most of the time: for a broker, a daemon, a deadline.
PARALLEL := -n auto --maxprocesses 4 --dist

.PHONY: test
test: .venv-dev/ready .venv-ansible/ready mosquitto test-tflite-runtime ## all tests, on this Python
	@$(DEV_BIN)/python -m pytest $(PARALLEL) loadfile $(ARGS)

.PHONY: faults
faults: .venv-dev/ready mosquitto ## the long forms of the fault tests, with their figures
	@$(DEV_BIN)/python -m pytest tests/faults tests/engine/test_accuracy.py --long $(PARALLEL) worksteal $(ARGS)

MINUTES ?= 60

.PHONY: soak
soak: .venv-dev/ready mosquitto ## the daemon at full speed, with faults, for MINUTES=60: does it grow?
	@cd tests && ../$(DEV_BIN)/python -m soak --minutes $(MINUTES) $(ARGS)

.PHONY: attack
attack: .venv-dev/ready mosquitto ## hostile clients, brokers, cameras, visitors, files (ARGS=--short)
	@cd tests && ../$(DEV_BIN)/python -m attack $(ARGS)

.PHONY: browser-test
browser-test: .venv-dev/ready mosquitto ## the page in a real Chromium (apt: chromium chromium-driver)
	@deploy/need.sh chromium chromedriver:chromium-driver
	@$(DEV_BIN)/python -m pytest tests/browser/page.py tests/browser/views.py tests/browser/gallery.py $(ARGS)

.PHONY: idle-test
idle-test: .venv-dev/ready mosquitto ## still scenes, long: what is noticed, and what is saved
	@$(DEV_BIN)/python -m pytest tests/pipeline tests/daemon/test_idle_daemon.py \
	  --long $(ARGS)

.PHONY: homeassistant-test
homeassistant-test: .venv-dev/ready mosquitto ## the device in a real Home Assistant (needs Python 3.13)
	@PYTHONPATH=tests $(DEV_BIN)/python -m home_assistant $(ARGS)

.PHONY: metrics-test
metrics-test: .venv-dev/ready mosquitto ## every query and alert with a real Prometheus and node exporter
	@deploy/need.sh prometheus prometheus-node-exporter
	@$(DEV_BIN)/python -m pytest tests/monitoring/real.py $(ARGS)

.PHONY: model-zoo
model-zoo: .venv-dev/ready ## models against what is expected of them (ARGS="--models FOLDER")
	@PYTHONPATH=tests $(DEV_BIN)/python -m zoo $(ARGS)

.PHONY: teach-test
teach-test: .venv-dev/ready ## how well, how fast and how large own classes are learned, in figures
	@OPENBLAS_NUM_THREADS=1 $(DEV_BIN)/python -m pytest tests/teach/figures.py $(ARGS)

ARCH ?= amd64

.PHONY: system-test
system-test: .venv-dev/ready .venv-ansible/ready ## deploy to a virtual Pi and try it (ARCH=arm64)
	@deploy/need.sh $$(PYTHONPATH=tests $(DEV_BIN)/python -m system.tools $(ARCH)) || true
	@PYTHONPATH=tests $(DEV_BIN)/python -m system.deploy --arch $(ARCH) $(ARGS)

# The older runtime needs an older NumPy, so it is tested in an environment of its own.
.PHONY: test-tflite-runtime
test-tflite-runtime:
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
	  $(MAKE) --no-print-directory .venv-tflite/ready && \
	  $(TFLITE_BIN)/python -m pytest tests/engine/test_classifier.py tests/engine/test_runtime.py \
	    tests/engine/test_labels.py tests/engine/test_evidence.py tests/models/test_metadata.py \
	    tests/models/test_examined.py tests/zoo; \
	else \
	  echo "tflite-runtime is not tested: it has no wheel for $$($(PYTHON) --version)"; \
	fi

.PHONY: lint
lint: .venv-dev/ready ## ruff: style and formatting
	@$(DEV_BIN)/ruff check
	@$(DEV_BIN)/ruff format --check

.PHONY: types
types: .venv-dev/ready ## mypy, strict
	@$(DEV_BIN)/mypy

.PHONY: format
format: .venv-dev/ready ## let ruff format the code
	@$(DEV_BIN)/ruff check --fix
	@$(DEV_BIN)/ruff format

.PHONY: docs
docs: .venv-dev/ready ## write the generated parts of docs/ again
	@$(DEV_BIN)/python docs/generate.py

.PHONY: bench
bench: .venv/ready ## speed, memory and start-up on this machine (ARGS="--model FILE …")
	@$(call foreground,$(BIN)/edgeclassifier bench $(ARGS))

.PHONY: bundled-model
bundled-model: ## rebuild the bundled model and compare (Python 3.11, downloads 700 MB of tools)
	@$(PYTHON) -m venv .venv-model
	@.venv-model/bin/pip install --quiet --no-deps --require-hashes \
	  -r deploy/model/build-requirements.txt
	@.venv-model/bin/python deploy/model/build.py --check

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links
RUN_EXTRAS := --extra stream --extra web --extra demo --group build
DEVICE_EXTRAS := --extra stream --extra web

.PHONY: lock
lock: ## pin the newest dependencies, with their hashes
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet 'uv>=0.9'
	@export PATH="$(CURDIR)/.venv-lock/bin:$$PATH" && \
	  $(COMPILE) pyproject.toml $(RUN_EXTRAS) -o $(REQUIREMENTS)/run.txt && \
	  $(COMPILE) pyproject.toml $(RUN_EXTRAS) -o $(REQUIREMENTS)/run-system.txt \
	    -c $(REQUIREMENTS)/run.txt --no-emit-package numpy --no-emit-package pillow \
	    --no-emit-package av && \
	  $(COMPILE) pyproject.toml $(RUN_EXTRAS) --group dev --group fuzz -o $(REQUIREMENTS)/dev.txt \
	    -c $(REQUIREMENTS)/run.txt && \
	  $(COMPILE) --group pyproject.toml:tflite-runtime -o $(REQUIREMENTS)/tflite-runtime.txt && \
	  $(COMPILE) pyproject.toml $(DEVICE_EXTRAS) -o $(REQUIREMENTS)/device.txt \
	    -c $(REQUIREMENTS)/run.txt && \
	  $(COMPILE) pyproject.toml $(DEVICE_EXTRAS) -o $(REQUIREMENTS)/device-system.txt \
	    -c $(REQUIREMENTS)/run.txt --no-emit-package numpy --no-emit-package pillow \
	    --no-emit-package av && \
	  $(COMPILE) --group pyproject.toml:deploy -o $(REQUIREMENTS)/deploy.txt && \
	  $(COMPILE) --group pyproject.toml:deploy --group pyproject.toml:deploy-lint \
	    -c $(REQUIREMENTS)/deploy.txt -o $(REQUIREMENTS)/deploy-lint.txt

.PHONY: clean
clean: ## remove the environments and caches
	rm -rf .venv .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# $(call environment,FOLDER,LOCK FILE,PIP OPTIONS,VENV OPTIONS)
define environment
	@echo "setting up $(1) from $(2)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1): 3.11 or later is needed (make PYTHON=…)"; exit 1; }
	@rm -rf $(1)
	@$(PYTHON) -m venv $(4) $(1) || { echo "no venv: sudo apt install python3-venv"; exit 1; }
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	  --root-user-action ignore --require-hashes $(3) -r $(2)
endef
INSTALL := -m pip install --quiet --disable-pip-version-check --no-input --root-user-action ignore \
  --no-deps --no-build-isolation --editable .

# For which Python an environment is, and whether that Python has picamera2. Written only when that
# changes: another PYTHON is given, or picamera2 is installed later.
DESCRIBE := import sys, importlib.util as find; \
  print("system" if find.find_spec("picamera2") else "own", \
    sys.implementation.cache_tag, sys.base_prefix)
.cache/%.python: always
	@new="$$($(PYTHON) -c '$(DESCRIBE)' 2>/dev/null)"; \
	  mkdir -p $(@D); [ "$$new" = "$$(cat $@ 2>/dev/null)" ] || echo "$$new" >$@

# Raspberry Pi OS brings picamera2 with its own NumPy and Pillow, which others must not replace.
.venv/ready: .cache/.venv.python $(REQUIREMENTS)/run.txt $(REQUIREMENTS)/run-system.txt pyproject.toml
	@read -r kind _ <$<; $(MAKE) --no-print-directory environment-$${kind:-own}
	@$(BIN)/python $(INSTALL)
	@touch $@

.PHONY: always environment-own environment-system
environment-own:
	$(call environment,.venv,$(REQUIREMENTS)/run.txt)
environment-system:
	$(call environment,.venv,$(REQUIREMENTS)/run-system.txt,--no-deps,--system-site-packages)

.venv-dev/ready: .cache/.venv-dev.python $(REQUIREMENTS)/dev.txt pyproject.toml
	$(call environment,.venv-dev,$(REQUIREMENTS)/dev.txt)
	@$(DEV_BIN)/python $(INSTALL)
	@touch $@

.venv-tflite/ready: .cache/.venv-tflite.python $(REQUIREMENTS)/tflite-runtime.txt
	$(call environment,.venv-tflite,$(REQUIREMENTS)/tflite-runtime.txt)
	@touch $@

.venv-ansible/ready: .cache/.venv-ansible.python $(REQUIREMENTS)/deploy-lint.txt
	$(call environment,.venv-ansible,$(REQUIREMENTS)/deploy-lint.txt)
	@touch $@

.PHONY: mosquitto
mosquitto:
	@deploy/need.sh mosquitto mosquitto_rr:mosquitto-clients openssl gcc prometheus
