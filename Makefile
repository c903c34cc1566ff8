# Two commands matter: `make run` and `make test`. Both build what they need, as root or not, as often as you like.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Every process of a pipeline imports the same libraries: compiled bytecode cuts that time to a third.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GX_ANALYTICS_ENABLED := false

READY := .venv/ready

.PHONY: help run test test-fast lint types smoke dashboard lock env system clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: $(READY) ## Reproduce the default pipeline, then print the headline figures and where to look
	python -m flows.reproduce
	python -m stages.reporting.summary

# Stages and tests run side by side; more threads than cores would wait for each other.
run test test-fast smoke: export OMP_NUM_THREADS := 1

test: $(READY) system ## Run all tests: the fast ones side by side, then those that take longer
	pytest -n 2 -m 'not slow'
	pytest -n 2 --dist loadgroup -m slow

test-fast: $(READY) ## Run the tests that take seconds
	pytest -n 2 -m 'not slow'

lint: $(READY) ## Check style and formatting
	ruff check
	ruff format --check

types: $(READY) ## Check types
	mypy

smoke: $(READY) ## Run the whole pipeline at smoke scale in a copy of this tree
	python -m tests.smoke

dashboard: $(READY) ## Open the MLflow dashboard
	python -m stages.tracking sync || :
	mlflow ui --backend-store-uri sqlite:///mlflow.db

env: $(READY) ## Build the pinned environment in .venv

$(READY): requirements.lock
	@python=; for found in python3.11 python3 python; do \
	  "$$found" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { python=$$found; break; }; done; \
	[ -n "$$python" ] || { echo 'delaminate: Python 3.11 is needed, as python3.11 or python3; none was found' >&2; exit 2; }; \
	echo "Building .venv from requirements.lock; the first time takes some minutes."; \
	"$$python" -m venv .venv
	.venv/bin/python -m pip install -qq -r requirements.lock
	.venv/bin/python -m pip check
	@touch $@

# The test of the report page wants a browser; without one it is skipped and says so.
system:
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update </dev/null && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium </dev/null >/dev/null; } || \
	echo 'chromium is not there and cannot be installed here: the test of the report page will be skipped' >&2

# Two edits to what pip-compile writes: the local version "+cpu" goes, so that other machines take their own build of
# the same torch; hashes are left out, because that build brings platform packages which the CPU build does not list.
lock: $(READY) ## Resolve pyproject.toml anew into requirements.lock
	python -m venv --clear .work/lock
	.work/lock/bin/python -m pip install -qq pip-tools
	.work/lock/bin/pip-compile --quiet --no-emit-index-url --no-emit-find-links --strip-extras --no-emit-options \
	  --allow-unsafe --no-annotate --no-header --extra dev pyproject.toml -o .work/requirements.lock
	{ echo '# Made by `make lock` with pip-compile. Without hashes and without a local version of torch: the standard build'; \
	  echo '# of the same version brings platform packages that the CPU build does not list.'; \
	  sed 's/^\(torch==[0-9.]*\)+cpu/\1/' .work/requirements.lock; } > requirements.lock
	rm -r .work/lock .work/requirements.lock

clean: ## Remove the environment, tools' caches and unfinished work; downloads, data, results and records stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dvc_plots
	[ ! -d .work ] || find .work -mindepth 1 -maxdepth 1 ! -name mlflow-spool ! -name prefect -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -r {} +
