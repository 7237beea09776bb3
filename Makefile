# make demo    environment (if missing) and the demonstration
# make test    environment with the test tools (if missing) and the whole test suite
# make env     only the environment; VENV=PATH puts it elsewhere
# make lint    ruff check and format check
# make clean   remove build leftovers and outputs (not the environment)

VENV ?= .venv
PYTHON ?= python3
PYTEST_ARGS ?=

# Absolute, because the recipes use it as a program.
venv := $(abspath $(VENV))
bin := $(venv)/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet

.PHONY: help env runtime demo test lint clean

help:
	@sed -n 's/^# //p' Makefile | head -5

env: $(venv)/.tests-stamp

runtime: $(venv)/.runtime-stamp

demo: runtime
	@$(bin)/python tools/demo.py

test: env
	@echo '==> running the test suite'
	@$(bin)/python -m pytest $(PYTEST_ARGS)

lint: env
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis demo_out
	find . -path ./.git -prune -o -path '$(VENV)' -prune -o -path ./.venv -prune \
		-o -name __pycache__ -type d -prune -exec rm -rf {} +

$(bin)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
		sys.exit(0 if v >= (3, 10) else f"Python 3.10 or newer is needed, and \
	$(PYTHON) is {v[0]}.{v[1]}. Name another one: make PYTHON=python3.11")'
	@echo '==> making the virtual environment $(VENV)'
	@$(PYTHON) -m venv $(venv)

# Stamps are redone when a requirement or the package's own metadata changes.
$(venv)/.runtime-stamp: requirements.txt setup.py pyproject.toml | $(bin)/python
	@echo '==> installing requirements.txt (about 2 minutes, 5.5 GB)'
	@$(pip) install -r requirements.txt
	@echo '==> installing mmseg_ovs from this checkout (editable)'
	@$(pip) install --no-deps --no-build-isolation -e .
	@touch $@

$(venv)/.tests-stamp: requirements/tests.txt $(venv)/.runtime-stamp
	@echo '==> installing requirements/tests.txt'
	@$(pip) install -r requirements.txt -r requirements/tests.txt
	@touch $@
