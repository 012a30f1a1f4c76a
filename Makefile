# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin

# temporary files of tests are held in memory if 4 GB are free there: ext4 is slow where many were just deleted
ROOMY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print "/dev/shm"}')
# glibc keeps freed memory: asking the system for it anew at every step takes 8% of the suite's time
KEEP := MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296
PYTEST := TMPDIR=$${TMPDIR:-$(ROOMY)} OMP_NUM_THREADS=1 $(KEEP) $(BIN)/python -m pytest -n 2 --dist loadfile \
    --no-loadscope-reorder --max-worker-restart 0  # a lost worker ends the run: after a restart, it may wait for ever

.PHONY: demo test test-long test-random test-matrix start-methods coverage lint docs site dist clean

# the development tools include what the demo needs
demo: $(if $(wildcard .venv/installed),.venv/installed,.venv/installed-demo)
	$(BIN)/vireid demo

test: .venv/installed
	$(PYTEST) -m 'not long'

# the guides' commands in order, kills in every phase, installed packages, networks that take seconds to learn
test-long: .venv/installed
	$(PYTEST) -m long

# other random examples each time; what they find becomes a test of its own
test-random: .venv/installed
	$(PYTEST) --hypothesis-profile=random

# the suite as other processors and threads would run it; an hour and more
test-matrix: .venv/installed
	$(BIN)/python benchmarks/suite_matrix.py

# the tests with loader processes, as Linux (forkserver), macOS and Windows (spawn) and older Pythons (fork) start them
start-methods: .venv/installed
	for method in fork forkserver spawn; do echo $$method; \
	    VIREID_START_METHOD=$$method OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 tests/core/data \
	    tests/runtime tests/core/scoring/test_embedding.py tests/core/training \
	    tests/runtime/test_worker_processes.py tests/test_disk_faults.py tests/cli/test_cli.py || exit 1; done

# lines of vireid/ that the suite runs; what worker processes run counts too
coverage: .venv/installed
	$(PYTEST) --cov --cov-report=term:skip-covered

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: pyproject.toml
	$(call install,[dev],the development tools: 7.5 GB on Linux with an NVIDIA build of PyTorch,--quiet)

.venv/installed-demo: pyproject.toml
	$(call install,[report],what the demo needs: 6.5 GB on Linux with an NVIDIA build of PyTorch)

# $(call install,EXTRAS,WHAT,PIP FLAGS): both kinds share .venv, each with a stamp of its own
define install
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "error: $(PYTHON) is Python %s.%s\n  allowed: 3.11 or newer\n  next:    make PYTHON=python3.12 $(MAKECMDGOALS)" % v[:2])'
	$(PYTHON) -m venv .venv
	@echo 'downloading and installing into .venv, which takes minutes: $(2)'
	@$(BIN)/python -m pip install $(3) --disable-pip-version-check --editable '.$(1)' || { \
	    echo 'error: pip failed, see above; nothing else was changed'; \
	    echo '  next:    without a network, connect to one; with a full disk, free space; then repeat: make $(MAKECMDGOALS)'; \
	    exit 1; }
	@touch $@
endef

docs: .venv/installed
	$(BIN)/python tools/model_table.py
	$(BIN)/python tools/interface_table.py
	$(BIN)/python tools/settings_page.py
	$(BIN)/python tools/zoo_page.py

# the docs as pages in site/; needs no network once its packages are installed
site: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo 'read it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000, then http://127.0.0.1:8000'

.venv/installed-docs: pyproject.toml
	$(call install,[docs],what the docs need: their reference is read from the package and so needs PyTorch,--quiet)

# a release: source and wheel in dist/, checked, and the wheel tried in an environment of its own
dist: .venv/installed
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tools/smoke_test.py dist/*.whl

clean:
	rm -rf .venv data/demo runs
