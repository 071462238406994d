# The commands of a newcomer. Each target installs the environment (.venv) where it is missing and uses it: no
# environment has to be activated.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo up down status doctor logs test faults nodes lint bench bench-words bench-main-content bench-analytics
.PHONY: lock chart sbom

PYTHON := .venv/bin/python
READY := .venv/.installed
# Ray, pip and the tests use this environment even where another one is active.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
# Dozens of processes import this project. Python compiles it once for all of them.
unexport PYTHONDONTWRITEBYTECODE

DOCS ?=
JOB ?=
ARGS ?=
ROUNDS ?= 20
SEED ?= $(shell date +%s)

demo: $(READY) ## See it work: ingest a folder and ask it questions (DOCS=path/to/folder for your own files)
	@$(PYTHON) -m cluster.local.demo $(if $(DOCS),"$(DOCS)")

up: $(READY) ## Start the cluster on this machine (a second up changes nothing)
	@$(PYTHON) -m cluster.local up

down: $(READY) ## Stop the cluster; the data stays
	@$(PYTHON) -m cluster.local down

status: $(READY) ## Show what runs, where the data is and how much there is
	@$(PYTHON) -m cluster.local status || test $$? -eq 3  # exit code 3, not running, is no failure of make

doctor: $(READY) ## Show what is wrong and what to do about it (ARGS=--mend repairs what it can)
	@$(PYTHON) -m cluster.doctor $(ARGS)

logs: $(READY) ## Show all that every process logged about one job (JOB=job_..., ARGS=--help explains)
	@$(PYTHON) -m cluster.local.job_logs $(if $(JOB),"$(JOB)") $(ARGS)

test: $(READY) ## Run every test but the faults, three at a time (ARGS="-m 'not launch'" or a path narrows it; -n0: one)
	@$(PYTHON) -m pytest --numprocesses 3 --ignore tests/faults \
	  --ignore-glob "tests/nodes/test_*" $(ARGS)

faults: $(READY) ## Kill and stop processes at random moments, in 20 rounds (ROUNDS=1 SEED=7 repeats one round)
	@ROUNDS=$(ROUNDS) SEED=$(SEED) $(PYTHON) -m pytest --numprocesses 2 tests/faults --verbose $(ARGS)

# Without -n: one cluster of five nodes keeps a machine busy.
nodes: ROUNDS = 10
nodes: $(READY) ## As root: run the tests with several nodes of Ray, in 10 rounds (ROUNDS=1 SEED=7 repeats one)
	@ROUNDS=$(ROUNDS) SEED=$(SEED) $(PYTHON) -m pytest tests/nodes --verbose -rP $(ARGS)

lint: $(READY) ## Check style, types and the import arrows
	@ruff check . && ruff format --check . && mypy && lint-imports

bench: $(READY) ## Measure the pipeline beside a plain loop and a published recipe (ARGS=--help explains)
	@$(PYTHON) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --group bench
	@$(PYTHON) -m benchmarks.ingest $(ARGS)

bench-words: $(READY) ## Check that parsing keeps the words of 753 foreign files (ARGS="--only pdf --words" narrows it)
	@$(PYTHON) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --group bench-words
	@$(PYTHON) -m benchmarks.words $(ARGS)

bench-main-content: $(READY) ## Compare the main content of web pages with references, beside two other readers
	@$(PYTHON) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --group bench-main-content
	@$(PYTHON) -m benchmarks.main_content $(ARGS)

bench-analytics: $(READY) ## Compare the roll-ups of 5 million events with DuckDB, and time the statistics
	@$(PYTHON) -m benchmarks.analytics $(ARGS)

lock: $(READY) ## Write requirements.lock and requirements-dev.lock again, after a change of constraints.txt
	@.ci/lock

chart: ## Write the overlays of the Helm chart again, after a change of the manifests (needs kubectl)
	@for overlay in cpu gpu-small gpu-large; do \
	  kubectl kustomize cluster/deploy/kuberay/overlays/$$overlay >cluster/deploy/helm/overlays/$$overlay.yaml; done

sbom: $(READY) ## Print the software bill of materials of this environment (CycloneDX)
	@$(PYTHON) -m cluster.local.sbom

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made again only when the dependencies or the compiled sources change.
$(READY): pyproject.toml constraints.txt requirements-dev.lock cluster/engines/bert/bert_avx2.c cluster/engines/bert/pairs_avx2.h \
  cluster/engines/bert/products_avx2.h
	@.ci/make-venv
	@touch $@
