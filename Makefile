# make study   make test   make help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# May be set on the command line, e.g. make study STUDY=nano-smoke CORES=2 ARGS=--dry-run
STUDY ?= nano
CONFIG ?=
CORES ?= all
ARGS ?=
SUBJECTS ?=
PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
PYTEST_ARGS ?= -n 3 --dist worksteal

# Snakemake's jobs find python and the other tools of the environment on PATH.
export PATH := $(abspath $(VENV))/bin:$(PATH)
# Nothing is fetched while a study runs, and one thread per process is what the digests are stated for.
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export OMP_NUM_THREADS ?= 1

ENVIRONMENT := $(VENV)/.installed
SNAKEMAKE = snakemake --cores $(CORES)
STUDY_CONFIG = --config study=$(STUDY) $(CONFIG)
RESULTS = $(or $(patsubst results=%,%,$(filter results=%,$(CONFIG))),results)
REPORT = $(RESULTS)/$(basename $(notdir $(STUDY)))/report.html
TESTS = $(wildcard tests/cluster tests/workflow tests/dag tests/browser tests/unit)
PLAN_ONLY = $(filter -n --dry-run --dryrun,$(ARGS))

.PHONY: help study plan download vllm test test-slow lint bench verify clean clean-env

help: ## Show this list
	@echo "make TARGET [STUDY=$(STUDY)] [CORES=$(CORES)] [CONFIG='key=value …'] [ARGS='--dry-run …'] [PYTHON=$(PYTHON)]"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

study: $(ENVIRONMENT) ## Run a study from nothing to its figures, tables and report
	@echo "== Study $(STUDY)"
	@$(SNAKEMAKE) $(STUDY_CONFIG) $(ARGS)
ifeq ($(PLAN_ONLY),)
	@echo "== Report"
	@$(SNAKEMAKE) $(STUDY_CONFIG) --report $(REPORT) --quiet all
	@echo "   $(REPORT)"
endif

plan: $(ENVIRONMENT) ## Print what a study takes (jobs, GPU-hours, memory, disk) without starting anything
	@$(SNAKEMAKE) plan $(STUDY_CONFIG) --quiet all $(ARGS)

test: lint ## Run every check and every test
	@echo "== pytest $(TESTS)"
	@python -m pytest $(PYTEST_ARGS) $(TESTS) $(ARGS)

test-slow: $(ENVIRONMENT) ## Run the further cases that `make test` leaves out for time
	@python -m pytest $(PYTEST_ARGS) -m slow $(TESTS) $(ARGS)

lint: $(ENVIRONMENT) ## Run the static checks only
	@echo "== ruff check" && ruff check .
	@echo "== ruff format" && ruff format --check .
	@echo "== snakefmt" && snakefmt --check Snakefile workflow/rules
	@echo "== mypy" && mypy
	@echo "== snakemake --lint" && snakemake --lint

download: $(ENVIRONMENT) ## Fetch what a study needs of the hub and lock its commits (needs a network)
	@HF_HUB_OFFLINE=0 $(SNAKEMAKE) download $(STUDY_CONFIG) $(ARGS)

vllm: $(VLLM_VENV)/.installed ## Install the optional engine vLLM for `generation: {engine: vllm}` (Linux, CUDA)

bench: $(ENVIRONMENT) ## Measure our ways beside others, on a GPU where there is one, else small (SUBJECTS='tokens …')
	@python -m tests.benchmarks $(SUBJECTS) $(ARGS)

verify: $(ENVIRONMENT) ## Check every file that the study has published
	@$(SNAKEMAKE) verify $(STUDY_CONFIG) $(ARGS)

clean: ## Delete results and logs; finished cells and checkpoints stay in store/ and come back from there
	rm -rf results logs .snakemake

clean-env: ## Delete the environment; the next command makes it anew
	rm -rf $(VENV)

# The stamp is written last, so that an interrupted installation goes on with the next command.
$(ENVIRONMENT): envs/lock.txt envs/install.sh pyproject.toml
	@bash envs/install.sh "$(PYTHON)" "$(abspath $(VENV))"
	@touch $@

$(VLLM_VENV)/.installed: envs/vllm.txt
	@"$(PYTHON)" -m venv "$(VLLM_VENV)"
	@"$(VLLM_VENV)/bin/python" -m pip install --progress-bar off -r envs/vllm.txt
	@touch $@
