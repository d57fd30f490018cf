# Two commands: `make run` serves the quickstart, `make test` runs all tests. Both make what they need first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= policies/quickstart

.PHONY: run test test-all lint bench lock clean

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

run: $(VENV)/.ready
	@SIDECAR_STATE=$${SIDECAR_STATE:-.state} $(BIN)/sidecar run -c $(CONFIG) --local-key

test: $(VENV)/.ready lint
	$(BIN)/python -m pytest -m "not slow" -n 2

test-all: $(VENV)/.ready lint
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.ready
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.ready
	$(BIN)/python -m tests.bench

lock:
	uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 --no-strip-extras --no-header --no-emit-index-url -o requirements.lock
	uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 --no-strip-extras --no-header --no-emit-index-url -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
