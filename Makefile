# MicroPie: every task of the project. `make` alone lists them.

PORT ?= 8000
PYTEST_ARGS ?=
SECONDS ?= 60
TARGET ?=

GALLERY := .venv/gallery
DEV := .venv/dev
DOCS := .venv/docs
BENCH := .venv/bench
OTHER_PYTHONS := 3.12 3.13 3.14
EXAMPLES_COVERAGE := $(CURDIR)/build/coverage-of-examples
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)
OF_DEV := --ignore=tests/docs --ignore=tests/examples --ignore=tests/tutorials --ignore=tests/newcomer \
    --ignore=tests/live
# Their packages are no part of requirements/test.in.
NOT_OF_VERSIONS := --ignore=tests/faults/test_cluster.py --ignore=tests/faults/test_stores.py

PROSE := micropie.py README.md CONTRIBUTING.md SECURITY.md docs/howto docs/tutorial docs/explanation docs/reference \
    docs/install.md docs/details.md docs/index.md docs/faq.md docs/troubleshooting.md examples tutorials

# Compiled modules are kept: a test starts dozens of processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# Where .venv/uv has one, every recipe and test finds it.
export PATH := $(PATH):$(CURDIR)/.venv/uv/bin

.DEFAULT_GOAL := help
.PHONY: help run new test test-framework test-examples test-site test-slow test-faults live test-versions fuzz lint \
    docs docs-live bench bench-quick bench-guard bench-small release-check release-rehearsal requirements clean

help:  ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

run: $(GALLERY)/.stamp  ## Serve the gallery of examples on http://127.0.0.1:8000 (PORT=... for another)
	PYTHONPATH=. $(GALLERY)/bin/python -m uvicorn --app-dir examples/gallery app:app \
	    --host 127.0.0.1 --port $(PORT) --timeout-graceful-shutdown 5

new: .venv/uv/.stamp  ## Copy an example out as a project: NAME=../mysite FROM=login
	@$$(.ci/find-python) .ci/new_example.py "$(FROM)" "$(NAME)"

test: $(DEV)/.stamp  ## Run the tests, with branch coverage of micropie.py
	@.ci/system-packages
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-framework test-examples test-site

test-framework: $(DEV)/.stamp  # micropie.py itself
	env -u MAKEFLAGS $(DEV)/bin/python -m pytest -m "not slow" --timeout=300 --cov --cov-report=term \
	    --numprocesses=$(PROCESSORS) --dist=worksteal $(OF_DEV) $(PYTEST_ARGS)

test-examples: $(DEV)/.stamp  # and then the coverage of all their lines
	rm -rf $(EXAMPLES_COVERAGE)
	env -u MAKEFLAGS EXAMPLES_COVERAGE=$(EXAMPLES_COVERAGE) $(DEV)/bin/python -m pytest -m "not slow" --timeout=300 \
	    --numprocesses=$(PROCESSORS) --dist=loadgroup tests/examples --ignore=tests/examples/test_coverage.py $(PYTEST_ARGS)
	$(if $(PYTEST_ARGS),,env -u MAKEFLAGS EXAMPLES_COVERAGE=$(EXAMPLES_COVERAGE) \
	    $(DEV)/bin/python -m pytest tests/examples/test_coverage.py)

live: $(DEV)/.stamp  # what the pages load when a reader presses Run: from npm and pip, kept in build/live
	@$(DEV)/bin/python docs/_ext/live_build.py || echo "The site is built and tested without them."

test-site: $(DEV)/.stamp live  # and the tutorial on it
	env -u MAKEFLAGS $(DEV)/bin/python -m pytest -m "not slow" --timeout=300 tests/docs tests/tutorials tests/live $(PYTEST_ARGS)

test-slow: $(DEV)/.stamp live  ## Run the slow tests: packaging, fresh clones, large uploads, every page
	@.ci/system-packages
	$(DEV)/bin/python -m pytest -m slow --timeout=900 --ignore=tests/newcomer --ignore=tests/live \
	    --ignore=tests/faults $(PYTEST_ARGS)
	$(DEV)/bin/python -m pytest -m slow --timeout=900 --numprocesses=$(PROCESSORS) --dist=worksteal \
	    tests/live tests/newcomer $(PYTEST_ARGS)

test-faults: $(DEV)/.stamp  ## Attack real servers: hostile clients, restarts, full disks, a kill -9
	@.ci/system-packages faults
	$(DEV)/bin/python -m pytest --timeout=900 tests/faults $(PYTEST_ARGS)

test-versions: .venv/uv/.stamp  ## Run the framework's tests on the other Python versions that are installed
	@$(MAKE) --no-print-directory --jobs=$(PROCESSORS) --output-sync=target $(OTHER_PYTHONS:%=test-%)

test-%:
	@if python=$$(.ci/find-python $* 2>/dev/null); then \
	    $(MAKE) --no-print-directory .venv/test-$*/.stamp && \
	    env -u MAKEFLAGS .venv/test-$*/bin/python -m pytest -m "not slow" --timeout=300 $(OF_DEV) \
	        $(NOT_OF_VERSIONS) $(PYTEST_ARGS); \
	else \
	    echo "test-$*: no Python $* found, its tests are left out"; \
	fi

fuzz:  ## Search for inputs that break a parser: SECONDS=20 for each target, TARGET=multipart for one
	@$(MAKE) --no-print-directory .venv/fuzz/.stamp || { \
	    echo "make fuzz: nothing was searched, since there is no Atheris. It has packages for Linux on x86-64." >&2; \
	    echo "Its targets also run without it: make test-framework PYTEST_ARGS='--no-cov tests/fuzz'" >&2; \
	    exit 1; }
	@.venv/fuzz/bin/python -m tests.fuzz --seconds $(SECONDS) $(TARGET)

lint: $(DEV)/.stamp  ## Check style, complexity and types
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check --quiet .
	$(DEV)/bin/python .ci/check_functions.py micropie.py .ci benchmarks docs examples tutorials
	$(DEV)/bin/python .ci/check_functions.py --max-tokens 22000 micropie.py
	$(DEV)/bin/python .ci/check_prose.py $(PROSE)
	$(DEV)/bin/mypy micropie.py .ci benchmarks/*.py tests
	$(DEV)/bin/pyright --pythonpath $(DEV)/bin/python
	$(DEV)/bin/zizmor --quiet --offline --min-severity=medium .github

docs: $(DOCS)/.stamp  ## Build the documentation site into docs/_build/html, warnings being errors
	$(DOCS)/bin/sphinx-build -n -W --keep-going docs docs/_build/html

docs-live: $(DOCS)/.stamp  ## Serve the documentation site, built anew on every change
	$(DOCS)/bin/sphinx-autobuild docs docs/_build/html --port $(PORT) --ignore docs/examples \
	    --watch micropie.py --watch examples --watch tutorials

bench: $(BENCH)/.stamp  ## Compare with other frameworks: everything, about forty minutes
	@.ci/system-packages bench
	$(BENCH)/bin/python -m benchmarks.run

bench-quick: $(BENCH)/.stamp  ## Compare with other frameworks in under two minutes
	@.ci/system-packages bench
	$(BENCH)/bin/python -m benchmarks.run --quick

bench-guard: $(DEV)/.stamp  ## Fail when a request takes more instructions than recorded
	@.ci/system-packages bench
	$(DEV)/bin/python -m benchmarks.guard

bench-small: $(DEV)/.stamp  ## Instructions per request beside a hand-written app, and the import
	@.ci/system-packages bench
	$(DEV)/bin/python -m benchmarks.guard
	$(DEV)/bin/python -m benchmarks.imports

release-check: $(DEV)/.stamp  ## Build the packages and try them; compare version, changelog and tag
	$(DEV)/bin/python .ci/release_check.py

release-rehearsal: $(DEV)/.stamp  ## The same with placeholders and unreleased changes allowed
	$(DEV)/bin/python .ci/release_check.py --rehearsal

requirements: .venv/uv/.stamp  ## Pin requirements/*.txt anew (UPGRADE=--upgrade for the newest versions)
	.ci/pin-requirements $(UPGRADE)

clean:  ## Remove the environments, the caches and everything built
	rm -rf .venv dist build docs/_build docs/examples htmlcov .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/uv/.stamp: requirements/uv.txt  # installs the other environments; pip does without it
	@rm -rf $(@D)
	@command -v uv >/dev/null || .ci/make-venv $(@D) $< || echo "no uv here: pip installs the environments, which takes longer"
	@mkdir -p $(@D) && touch $@

.venv/test-%/.stamp: requirements/test.txt | .venv/uv/.stamp
	.ci/make-venv $(@D) $< $*

.venv/%/.stamp: requirements/%.txt | .venv/uv/.stamp
	.ci/make-venv $(@D) $<
