# Every target makes its own virtual environment, .venv, when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-fast check bench clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo 'make demo       install, then compare protocols on packed real answers; needs no key, no GPU'
	@echo 'make test       install, then all checks and all tests'
	@echo 'make test-fast  the tests that need no Ray cluster and are not slow'
	@echo 'make check      ruff, mypy and the layering tests'
	@echo 'make bench      the benchmarks; their figures go to benchmarks/results/'
	@echo 'make clean      remove .venv and what tools left behind'

demo: $(INSTALLED)
	@$(BIN)/moot demo

test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not ray and not slow and not bench'
	$(BIN)/python -m pytest -q -m '(ray or slow) and not bench'

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not ray and not slow and not bench'

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py tests/test_tree.py

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip compiles byte code one file at a time; compileall takes all cores. A few packages carry
# files that are not meant for this Python, so its exit status says nothing.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'moot needs Python 3.11 or newer; try: make demo PYTHON=python3.12'; exit 1; }
	@printf 'Installing into .venv ... '; start=$$(date +%s); log=$$(mktemp); \
	if { $(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install --quiet --no-compile \
	    --disable-pip-version-check -c constraints.txt -e '.[test]'; } >"$$log" 2>&1; then \
	  $(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true; \
	  rm -f "$$log"; touch $@; echo "done ($$(( $$(date +%s) - start )) s)"; \
	else \
	  echo failed; tail -n 20 "$$log"; rm -f "$$log"; exit 1; \
	fi
