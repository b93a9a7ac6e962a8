# `make demo` shows the chain, `make test` runs every gate; both make their own virtual environment. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# One worker more than cores: many tests wait for processes of their own.
PYTEST = $(BIN)/python -m pytest --dist=worksteal --numprocesses=$$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)')

.PHONY: help demo check format fast test docs campaign clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name does; do \
	  printf '  make %-9s %s\n' "$$name" "$$does"; done

demo: $(VENV)/.demo-ready ## send a user's certificates through every party
	$(BIN)/pfxlab demo $(ARGS)

check: $(VENV)/.test-ready build/typed/pfxlab ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd build/typed && ../../$(BIN)/lint-imports ../../pyproject.toml

format: $(VENV)/.test-ready ## sort imports, mend what ruff can, format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fast: $(VENV)/.test-ready ## a quick part of the tests: wire formats, connector, devices, tables
	$(PYTEST) tests/wire tests/device_sim tests/connector_sim tests/scenarios/conformance/test_scrub.py \
	  tests/scenarios/load/test_statistics.py tests/emulator/store tests/test_house_rules.py $(ARGS)

test: check ## every gate and every test
	sh .ci/system-packages
	@$(MAKE) --silent tests/clients/node/node_modules/.ready
	$(PYTEST) --cov --cov-report=term $(ARGS)

docs: $(VENV)/.test-ready ## write the generated pages anew
	$(BIN)/python -m pfxlab.scenarios.reference

campaign: check ## what is long by nature, whole: load runs, soak, kills, histories, benchmarks
	sh .ci/system-packages
	$(BIN)/python -m pytest --campaign --durations=20 $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version); try: make PYTHON=python3.12 ..." >&2; exit 3; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "expected Python's venv module; on Debian: apt-get install python3-venv" >&2; exit 3; }

$(VENV)/.demo-ready: pyproject.toml setup.py | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.test-ready: pyproject.toml setup.py | $(BIN)/python
	@began=$$(date +%s); $(PIP) --editable '.[test]' && \
	  echo "installed what the tests need in $$(( $$(date +%s) - began )) s"
	@touch $@ $(VENV)/.demo-ready

# One import name, four folders: mypy and import-linter read this tree of links.
build/typed/pfxlab: setup.py $(wildcard pfxlab/*.py)
	@mkdir -p $@
	@for party in emulator connector_sim device_sim scenarios; do ln -sfn "../../../$$party" "$@/$$party"; done
	@for file in pfxlab/*.py pfxlab/py.typed; do ln -sfn "../../../$$file" "$@/$${file#pfxlab/}"; done
	@touch $@

# Microsoft's JavaScript clients, which the tests run unmodified; without npm those tests are skipped.
tests/clients/node/node_modules/.ready: tests/clients/node/package.json
	@if command -v npm >/dev/null; then \
	  cd tests/clients/node && npm install --no-package-lock --no-audit --no-fund --silent && touch node_modules/.ready; \
	fi

clean: ## remove everything that these targets made
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	rm -rf tests/clients/node/node_modules
