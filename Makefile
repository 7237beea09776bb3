# make demo    create the environment if missing, run the demo
# make test    create the environment with test tools if missing, run all tests
# make env     only create the environment; VENV=PATH chooses its folder
# make lint    ruff check and format check
# make clean   remove build files and outputs, but not the environment

VENV ?= .venv
PYTHON ?= python3
PYTEST_ARGS ?=

# Absolute, because the recipes run programs from it.
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
		sys.exit(0 if v >= (3, 10) else f"Python 3.10 or newer is required, but \
	$(PYTHON) is {v[0]}.{v[1]}. Choose another one: make PYTHON=python3.11")'
	@echo '==> creating the virtual environment $(VENV)'
	@$(PYTHON) -m venv $(venv)

# Reinstall when a requirements file or the package's metadata changes.
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
