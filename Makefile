# sgdphases: what can be asked of this folder. `make` alone lists it; every target creates the environment it needs.
#
# Variables: ARGS="..."       more words for Snakemake (run, fashion, report) or pytest (test)
#            PYTHON=...       the Python that .venv is made from, 3.11 or newer
#            CPU=1            a CPU-only build of PyTorch (remembered until `make clean` or CPU=0)
#            TORCH_INDEX=...  the index or folder that build comes from, if not PyTorch's own
#            WORKERS=2        how many tests run side by side
#            URI=... PORT=... the tracking store that `make ui` opens, and where it listens

.DEFAULT_GOAL := help
.PHONY: help run test test-systems test-cluster faults figures fashion ui report usage environment lock lint format clean

WORKERS ?= 2
PORT ?= 5000
URI ?= results/tracking/mlflow.db

# Other environments, activated or loaded as modules, must not leak into this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

# Relative names everywhere, so that a folder with spaces in its path is no trouble.
PY := .venv/bin/python
LOCKS := envs/requirements.lock envs/installer.lock
# The stamp says for which locks and in which place the environment was completed: a moved folder gets a new one.
HASH := $(shell (cat $(LOCKS) pyproject.toml envs/create.sh; pwd) | cksum | cut -d ' ' -f 1)
CPU ?= $(if $(wildcard .venv/.stamp-*-cpu),1,0)
STAMP := .venv/.stamp-$(HASH)$(if $(filter 1,$(CPU)),-cpu)

FIGURES ?= dyson_quick/phase_diagram dyson_quick/maps dyson_quick/trajectories
EXPERIMENT_FIGURES = $(foreach figure,$(FIGURES),results/$(subst /,/figures/,$(figure)).png)

help:  ## this list
	@printf 'make <target> [ARGS="..."] [CPU=1] [PYTHON=python3.12]\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' Makefile

$(STAMP):
	@PYTHON='$(PYTHON)' CPU='$(CPU)' TORCH_INDEX='$(TORCH_INDEX)' sh envs/create.sh '$@'

environment: $(STAMP)  ## .venv with everything, from the lock (1 to 5 minutes and 6 GB the first time, then instant)

run: $(STAMP)  ## train, measure, fit, draw, judge: the experiments in config.yaml (11 to 14 minutes on 2 cores)
	@printf 'make run: the experiments that config.yaml lists, on all cores; the default list takes 11 to 14 minutes on 2 cores.\n'
	@printf '          What is already there is kept; results go to results/. Stop with ctrl-c, go on with make run.\n'
	$(PY) -m snakemake --cores all $(ARGS)

test: $(STAMP)  ## all tests (at most 12 minutes on 2 cores)
	@printf 'make test: all tests, $(WORKERS) side by side; at most 12 minutes on 2 cores.\n'
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not systems' $(ARGS)

test-systems: $(STAMP)  ## five kills of every stage; tracking into servers that fail (at most 15 minutes on 2 cores)
	@printf 'make test-systems: kills every stage five times, tracks into servers that fail; at most 15 minutes on 2 cores.\n'
	@printf '                   What needs PostgreSQL is left out where it is not installed.\n'
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m systems tests/faults tests/tracking $(ARGS)

# Beside the environment, not in it: with the plugin for Slurm installed, every Snakemake asks for a cluster as it starts.
CLUSTER := .venv/cluster
CLUSTER_STAMP := $(CLUSTER)/.stamp-$(shell cksum < envs/cluster.lock | cut -d ' ' -f 1)

$(CLUSTER_STAMP): envs/cluster.lock | $(STAMP)
	@rm -rf $(CLUSTER)
	$(PY) -m uv pip install -q --python $(PY) --target $(CLUSTER) --no-deps --require-hashes -r envs/cluster.lock
	@touch '$@'

test-cluster: $(CLUSTER_STAMP)  ## the workflow on a real Slurm, two nodes on this machine (at most 20 minutes on 2 cores)
	@printf 'make test-cluster: starts a Slurm on loopback and breaks its jobs; at most 20 minutes on 2 cores.\n'
	@printf '                   Debian packages that it needs: munge slurm-client slurmctld slurmd.\n'
	SGDPHASES_CLUSTER=$(CLUSTER) $(PY) -m pytest -n $(WORKERS) --dist load tests/cluster $(ARGS)

faults: $(STAMP)  ## kill, damage, fill and forbid everything, 100 times a stage, into docs/reliability.md (60 to 120 minutes)
	@printf 'make faults: each stage killed 100 times, files damaged, disks filled; one to two hours, goes on where it stopped.\n'
	cd tests && ../$(PY) -m faults --page $(ARGS)

fashion: $(STAMP)  ## the experiment on Fashion-MNIST (30 MB download, about 15 minutes on 2 cores)
	@printf 'make fashion: experiment dyson_fashion; downloads 30 MB once, then about 15 minutes on 2 cores.\n'
	$(PY) -m snakemake --cores all --config 'experiments=[dyson_fashion]' $(ARGS)

figures:  ## copy the chosen figures and the ledger of the last run to docs/ (instant)
	@printf 'make figures: copies figures and the ledger of claims from results/ to docs/.\n'
	@for figure in $(EXPERIMENT_FIGURES); do \
	  test -f "$$figure" || { printf '%s is not there yet: type make run first.\n' "$$figure" >&2; exit 1; }; done
	@mkdir -p docs/figures
	cp $(EXPERIMENT_FIGURES) docs/figures/
	cp results/claims.md docs/ledger.md

ui: $(STAMP)  ## browse the tracked runs on this machine (starts in about 10 seconds, stop with ctrl-c)
	@printf 'make ui: opens MLflow on 127.0.0.1, port $(PORT) or the next free one, in about 10 seconds; ctrl-c ends it.\n'
	$(PY) -m sgdphases.tracking.serve --uri '$(URI)' --port $(PORT)

report: $(STAMP)  ## one HTML page with figures, captions and claims (half a minute, after make run)
	@printf 'make report: writes results/report.html from what make run left; about half a minute.\n'
	$(PY) -m snakemake --cores all --report results/report.html $(ARGS)

usage: $(STAMP)  ## minutes and memory that training asked for, beside what it used (a few seconds, after make run)
	@printf 'make usage: what the jobs of results/ asked a scheduler for, beside what they used; a few seconds.\n'
	$(PY) -m sgdphases.steps.usage

lint: $(STAMP)  ## check style and the workflow (half a minute)
	@printf 'make lint: ruff, snakefmt and snakemake --lint; about half a minute.\n'
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m snakefmt --check Snakefile workflow
	$(PY) -m snakemake --lint

format: $(STAMP)  ## put the code into the style that lint checks (a few seconds)
	@printf 'make format: ruff and snakefmt rewrite what they can; a few seconds.\n'
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .
	$(PY) -m snakefmt Snakefile workflow

lock: $(STAMP)  ## resolve the dependencies of pyproject.toml anew; LOCK_ARGS=--upgrade for newer ones (a minute)
	@printf 'make lock: resolves pyproject.toml for every platform into envs/; about a minute, needs the network.\n'
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --extra dev --no-header \
	  --no-emit-index-url $(LOCK_ARGS) pyproject.toml -o envs/requirements.lock
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url $(LOCK_ARGS) envs/installer.in -o envs/installer.lock
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-deps \
	  --no-emit-index-url $(LOCK_ARGS) envs/cluster.in -o envs/cluster.lock
	sh envs/conda.sh < envs/requirements.lock > envs/python.yaml

clean:  ## remove .venv and caches; results/ and data/ stay (instant)
	@printf 'make clean: removes .venv and caches; results/ and data/ stay, remove them by hand.\n'
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
