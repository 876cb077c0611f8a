# Everything a developer runs. Needs make and Python 3.11 or newer; uses uv when it is on PATH.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

# An interpreter that was asked for by name must be the one that runs; the default one only makes a new .venv.
EXACT := $(if $(filter command environment,$(firstword $(origin PYTHON))),--exact)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint platforms format lock bench conformance bundle plugin-check clean
MAKEFLAGS += --no-print-directory
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

step = @printf '\n== %s\n' '$(1)'

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@printf '\nPYTHON=python3.13 chooses the interpreter; ARGS="..." is passed on by demo, test, bench and conformance.\n'

setup: ## Make .venv from requirements.lock; instant when nothing changed
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo 'setup: no "$(PYTHON)" on PATH. Install Python 3.11 or newer, or name one: make setup PYTHON=...' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "setup: Python 3.11 or newer is needed, $(PYTHON) is $$("$(PYTHON)" --version 2>&1). Name another: make setup PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" scripts/setup_venv.py $(EXACT)

demo: setup ## Watch the server work against the built-in sandbox; no key needed
	@$(BIN)/python demo/run.py $(ARGS)

lint: setup ## ruff check, ruff format --check, basedpyright
	$(call step,ruff check)
	@$(BIN)/ruff check .
	$(call step,ruff format --check)
	@$(BIN)/ruff format --check .
	$(call step,basedpyright)
	@$(BIN)/basedpyright --project pyproject.toml

test: lint ## Everything CI runs: lint, then pytest
	$(call step,pytest)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

format: setup ## Let ruff rewrite the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## Resolve requirements.lock again (needs uv; UPGRADE=1 takes newer versions)
	@"$(PYTHON)" scripts/lock.py $(if $(UPGRADE),--upgrade)

platforms: setup ## basedpyright once more, as on Windows and on macOS
	$(call step,basedpyright as on Windows)
	@$(BIN)/basedpyright --project pyproject.toml --pythonplatform Windows
	$(call step,basedpyright as on macOS)
	@$(BIN)/basedpyright --project pyproject.toml --pythonplatform Darwin

bench: setup ## Start-up, memory and token budgets against what is measured
	@$(BIN)/python -m bench $(ARGS)

conformance: setup ## The official MCP conformance scenarios over HTTP
	@$(BIN)/python -m conformance $(ARGS)

bundle: setup ## Pack dist/venice-mcp-VERSION.mcpb for Claude Desktop, and start what is in it
	@$(BIN)/python -m shipping bundle

plugin-check: setup ## Validate the Claude Code plugin and the skills, install it and start its server
	@$(BIN)/python -m shipping check

clean: ## Remove .venv, caches and build output
	@rm -rf .venv .conformance .shipping .pytest_cache .ruff_cache .hypothesis .inline-snapshot build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
