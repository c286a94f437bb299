# Every target first brings the environment up to date (workflow/envs/setup.sh; at once if it is).
.DEFAULT_GOAL := help
.PHONY: help setup run test validate mutants bench lint clean

CORES ?= all
ARGS ?=
PY := .venv/bin/python
UV := $(shell command -v uv || echo .tools/uv/bin/uv)

# The rules' own commands (python, mpirun) are those of the environment; pictures need no display.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MPLBACKEND := Agg
unexport PYTHONPATH PYTHONHOME
# Compiled modules are kept: a run starts many processes.
unexport PYTHONDONTWRITEBYTECODE

run: setup ## plan, simulate and report all patients of config/config.yaml
	$(PY) -m snakemake --cores $(CORES) $(ARGS)

test: setup ## the tests
	@sh workflow/envs/browser.sh
	$(PY) -m pytest $(ARGS)

validate: setup ## long runs that compare with published and independent results
	$(PY) tests/validation/run.py $(ARGS)

mutants: setup ## what the tests do not see: changes of the code that no test notices
	$(UV) run --frozen --group mutation python tests/mutation/run.py $(ARGS)

bench: setup ## time and memory of each stage
	$(PY) benchmarks/run.py $(ARGS)

lint: setup ## style check
	$(PY) -m ruff check $(ARGS)

setup: ## only the set-up: system libraries, Python, the packages of uv.lock in .venv
	@sh workflow/envs/setup.sh

clean: ## remove the environment and caches; results stay
	rm -rf .venv .tools .mutants .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo 'Results are kept. To remove them too: rm -r results .snakemake'

help: ## this text
	@echo 'make TARGET [ARGS="..."]'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12
	@echo
	@echo 'ARGS is handed to snakemake, pytest, ..., for example'
	@echo '  make run ARGS="--dry-run"'
	@echo '  make run ARGS="--config patients=[breast_reference] results_dir=/data/results"'
	@echo '  make test ARGS="tests/unit -x"'
	@echo 'CORES=2 limits a run to two cores (default: all);'
	@echo 'HIFUFLOW_PYTHON=/path/to/python3.13 chooses the interpreter of .venv.'
	@echo
	@echo 'A shell with the tools, after "make setup":'
	@echo '  . .venv/bin/activate'
	@echo '  snakemake --cores 8'
	@echo '  python -m hifuflow validate PATIENT.yaml'
