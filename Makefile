# Two commands: `make demo` shows the chain, `make test` runs every gate. Both make their own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test clean

demo: $(VENV)/.demo-ready
	$(BIN)/pfxlab demo $(ARGS)

test: $(VENV)/.test-ready
	sh .ci/system-packages
	@$(MAKE) --silent tests/clients/node/node_modules/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --silent build/typed/pfxlab
	$(BIN)/mypy
	cd build/typed && ../../$(BIN)/lint-imports ../../pyproject.toml
	$(BIN)/python -m pytest --numprocesses=auto --cov --cov-report=term $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version); try: make PYTHON=python3.12 ..." >&2; exit 3; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "expected Python's venv module; on Debian: apt-get install python3-venv" >&2; exit 3; }

$(VENV)/.demo-ready: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.test-ready: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.demo-ready

# Microsoft's JavaScript clients, which the tests run unmodified; without npm those tests are skipped.
tests/clients/node/node_modules/.ready: tests/clients/node/package.json
	@if command -v npm >/dev/null; then \
	  cd tests/clients/node && npm install --no-package-lock --no-audit --no-fund --silent && touch node_modules/.ready; \
	fi

# One import name, four folders: mypy and import-linter read this tree of links.
build/typed/pfxlab: setup.py
	@mkdir -p $@
	@for party in emulator connector_sim device_sim scenarios; do ln -sfn "../../../$$party" "$@/$$party"; done
	@for file in __init__.py __main__.py py.typed; do ln -sfn "../../../pfxlab/$$file" "$@/$$file"; done
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* tests/clients/node/node_modules
