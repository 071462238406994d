# Everything a newcomer runs. Targets bring their own environment (.venv): activating one is not needed.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo up down status doctor test faults lint bench bench-words

PYTHON := .venv/bin/python
READY := .venv/.installed
# Ray, pip and the tests must find this environment, whichever is active.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
# Dozens of processes import this project: they compile it once.
unexport PYTHONDONTWRITEBYTECODE

DOCS ?=
ARGS ?=
ROUNDS ?= 20
SEED ?= $(shell date +%s)

demo: $(READY) ## See it work: ingest a folder, ask it questions (DOCS=path/to/folder for your own files)
	@$(PYTHON) -m cluster.local.demo $(if $(DOCS),"$(DOCS)")

up: $(READY) ## Start the cluster on this machine and keep it running (harmless to repeat)
	@$(PYTHON) -m cluster.local up

down: $(READY) ## Stop it; the data stays
	@$(PYTHON) -m cluster.local down

status: $(READY) ## What runs, where the data is and how much
	@$(PYTHON) -m cluster.local status || test $$? -eq 3  # not running is an answer, not a failure of make

doctor: $(READY) ## What is wrong and what to do (ARGS=--mend mends what can be mended)
	@$(PYTHON) -m cluster.doctor $(ARGS)

test: $(READY) ## Run every test, two at a time (ARGS="-m 'not launch'" or a path narrows it; -n0: one at a time)
	@$(PYTHON) -m pytest --numprocesses 2 $(ARGS)

faults: $(READY) ## Kill, stop and cut off everything, at random moments, in 20 rounds (ROUNDS=1 SEED=7 repeats one)
	@ROUNDS=$(ROUNDS) SEED=$(SEED) $(PYTHON) -m pytest tests/faults --verbose $(ARGS)

lint: $(READY) ## Check style, types and the import arrows
	@ruff check . && ruff format --check . && mypy && lint-imports

bench: $(READY) ## Measure the pipeline beside a plain loop and a published recipe (ARGS=--help explains)
	@$(PYTHON) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --group bench
	@$(PYTHON) -m benchmarks.ingest $(ARGS)

bench-words: $(READY) ## Look for every word of 445 files of other projects (ARGS="--only pdf --words" narrows it)
	@$(PYTHON) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --group bench-words
	@$(PYTHON) -m benchmarks.words $(ARGS)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Made anew only when the dependencies or what is compiled change. The pip line pins pip itself; torch goes first, so that the build without
# CUDA is taken where one is offered (see docs/getting-started.md).
$(READY): pyproject.toml constraints.txt cluster/engines/bert/bert_avx2.c cluster/engines/bert/products_avx2.h
	@.ci/make-venv
	@touch $@
