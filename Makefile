# Every command of the repository. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
CLUSTER := $(BIN)/python -m localcluster

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Create .venv with the locked dependencies (about 2 min, 5 GB the first time)

$(VENV)/.installed: locks/uv.lock locks/dev.lock pyproject.toml
	@echo "installing Python packages into $(VENV) (about 2 min and 5 GB the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --require-hashes -r locks/dev.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

build: install ## Build control plane and S3 server for the local cluster (about 9 min on 2 cores the first time)
	@$(CLUSTER) build

helm: install ## Build the Helm that the chart's tests use (about 4 min on 2 cores the first time)
	@$(CLUSTER) build --helm

chart: helm ## Lint the chart, render it and package it into dist/
	@$(BIN)/python -m hack.package_chart

demo: build ## A real fine-tuning run on an embedded cluster, from kubectl apply to the report (about 6 min)
	@$(BIN)/python examples/demo.py

test: build helm ## All tests: unit, component, integration, e2e (about 24 min on 2 cores)
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

unit: install ## Unit tests only (under a minute)
	@$(BIN)/python -m pytest tests/unit

e2e: build ## Every example on an embedded cluster, from its scripts to its end (about 10 min)
	@$(BIN)/python -m pytest -m 'examples or not bench' tests/e2e/test_examples.py tests/e2e/test_sft_json.py

matrix: install ## Every task, objective, method and layout; writes docs/support-matrix.md (about 1 h on 2 cores)
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m 'matrix or not matrix' --junitxml=.cache/matrix.xml tests/component/trainer || true
	@$(BIN)/python -m hack.support_matrix .cache/matrix.xml

chaos: build ## Deaths, preemptions and storage outages at every moment that is listed (about 10 min)
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m chaos tests

bench: build ## Measure what docs/benchmarks.md records (about 10 min)
	@$(BIN)/python -m pytest -m bench -s tests/bench

images: install ## Prove the Dockerfiles without a container engine (about 5 min, 7 GB of disk)
	@$(BIN)/python -m hack.images operator trainer

verify: install ## Generated files fresh, lint, format, types, layers
	@$(BIN)/python -m hack.generate --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile trainer_image/Dockerfile

lint: install ## Mend what lint and format can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: install ## Write the CRD, the API reference and parts of the chart from the code
	@$(BIN)/python -m hack.generate

up: build ## Start the local cluster and leave it running
	@$(CLUSTER) up
	@echo 'now: eval "$$($(CLUSTER) env)"'

down: install ## Stop the local cluster
	@$(CLUSTER) down

lock: install ## Resolve dependencies anew and write the lock files
	@$(BIN)/python hack/lock.py

clean: ## Stop the local cluster; remove virtual environment, caches and built binaries
	@test ! -x $(BIN)/python || $(CLUSTER) down
	@rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.PHONY: help install build helm chart demo test e2e matrix chaos bench unit images verify lint generate up down lock clean
