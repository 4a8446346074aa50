# To try Rollcall, use `make run` and `make test`; the other targets are for working on it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
READY_DEV := $(VENV)/ready-dev

.PHONY: run stop manage test lint bench format lock clean install install-dev

run: $(READY)
	@$(BIN)/python -m scripts.run

stop: $(READY)
	@$(BIN)/python -m scripts.run --stop

# Example: make manage do="ledger --verify"
manage: $(READY)
	@$(BIN)/python -m scripts.manage $(do)

test: install-dev
	@$(BIN)/python -m scripts.run_tests

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy .

format: $(READY_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY_DEV)
	@$(BIN)/python -m bench

# Removes all state, including the database of `make run`, and everything installed in the clone.
clean:
	@test ! -x $(BIN)/python || $(BIN)/python -m scripts.run --erase
	rm -rf var $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Pins the versions of requirements.in and requirements-dev.in.
lock: $(VENV)/uv
	$(BIN)/uv pip compile --system-certs --quiet --upgrade --no-header --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile --system-certs --quiet --upgrade --no-header --python-version 3.11 requirements-dev.in -o requirements-dev.txt

install: $(READY)

install-dev: $(READY_DEV)
	@$(BIN)/python -m scripts.browser

$(VENV)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rollcall needs Python 3.11 or newer; set PYTHON, as in: make run PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make virtual environments here. On Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(READY): requirements.txt $(VENV)/uv
	@$(BIN)/uv pip install --quiet --system-certs --compile-bytecode --python $(BIN)/python --requirement requirements.txt
	@touch $@

$(READY_DEV): requirements-dev.txt $(READY)
	@$(BIN)/uv pip install --quiet --system-certs --compile-bytecode --python $(BIN)/python --requirement requirements-dev.txt
	@touch $@
