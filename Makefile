# `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
RUN := papermill notebooks/train.ipynb runs/train.ipynb -p method rigl -p density 0.1
HTML := _build/html
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --generate-hashes --upgrade
SOURCES := _config.yml _toc.yml $(shell find book notebooks rigl results runs tests/sparsity -type f \
	\( -name '*.py' -o -name '*.md' -o -name '*.bib' -o -name '*.css' -o -name '*.js' -o -name '*.json' \
	-o -path 'runs/*.ipynb' \) -not -path '*/.*' -not -name '* *' 2>/dev/null)

# Some machines forbid it; then each of the many processes below would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE
# The book's pages and the benchmarks are no part of the package: let this environment find them from any folder.
export PATHS := import pathlib, site; pathlib.Path(site.getsitepackages()[0], "rigl-book.pth").write_text("$(CURDIR)")
.DEFAULT_GOAL := all
.PHONY: all setup book pdf test lint format lock layers clean help
.DELETE_ON_ERROR:

all: runs/train.ipynb ## Set up, train one sparse network, build the book with it
	@$(MAKE) --no-print-directory book
	@$(BIN)/python -m rigl.training.notebook runs/train.ipynb $(HTML)

setup: .venv/.done ## Set up .venv from requirements.lock

.venv/.book: requirements-book.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit((3, 11) > sys.version_info and "Python %d.%d is too old: give one from 3.11 on, as in: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "setting up .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(INSTALL) -r requirements-book.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@$(BIN)/python -c "$$PATHS"
	@touch $@

.venv/.done: .venv/.book requirements.lock
	@echo "adding what trains (on Linux torch's CUDA libraries are gigabytes: the first time takes minutes)"
	@$(INSTALL) -r requirements.lock
	@touch $@

.venv/.tests: .venv/.done requirements-test.lock
	@$(INSTALL) -r requirements-test.lock
	@touch $@

# Written under another name first: an interrupted papermill leaves half a notebook.
runs/train.ipynb: .venv/.done notebooks/train.ipynb
	@mkdir -p runs
	@echo "$(RUN)"
	@$(BIN)/$(subst runs/,runs/.,$(RUN))
	@mv runs/.train.ipynb $@

book: $(HTML)/.done ## Build the book from what is in results/ and runs/; needs no torch

$(HTML)/.done: .venv/.book $(SOURCES)
	@echo "building the book"
	@rm -rf _build  # Sphinx keeps pages of runs that are gone, and sidebars without those that came
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter-book build . -W -n --keep-going -q
	@touch $@

pdf: _build/rigl-book.pdf ## Print the book to _build/rigl-book.pdf

_build/rigl-book.pdf: .venv/.tests $(HTML)/.done
	@sh tests/get_chromium.sh $(BIN)
	@$(BIN)/python -m book.report.pdf $(HTML) $@

test: .venv/.tests ## Set up and run all tests
	@sh tests/get_chromium.sh $(BIN)
	@PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

lint: .venv/.tests ## Check form (ruff) and types (mypy)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/.tests ## Bring sources into form, and notebooks' pairs up to date
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/jupytext --quiet --to ipynb notebooks/*.py

lock: .venv/.done ## Renew the locks within the ranges of requirements*.txt
	@$(INSTALL) uv
	@$(LOCK) requirements.txt -o requirements.lock
	@$(LOCK) requirements-book.txt -c requirements.lock -o requirements-book.lock
	@$(LOCK) requirements-test.txt -o requirements-test.lock

layers: .venv/.done ## Renew results/layers.json from the models
	@$(BIN)/python -m rigl.training.models

clean: ## Remove the book, executed notebooks and caches; keep results/ and .venv
	@rm -rf _build runs .pytest_cache .hypothesis .mypy_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14
