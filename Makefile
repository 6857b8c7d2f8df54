# Everything happens in .venv, which is made on first use from pyproject.toml and constraints.txt.
PYTHON      ?= python3
VENV        ?= .venv
# Where to get another build of torch from, as https://download.pytorch.org/whl/cu130; see README.
TORCH_INDEX ?=
# Where `make bench-engine` installs the packages it measures beside ours.
BENCH_VENV  ?= .venv-bench
# Where `make docs` installs what builds the documentation.
DOCS_VENV   ?= .venv-docs

BIN   := $(VENV)/bin
STAMP := $(VENV)/.stamp

.DEFAULT_GOAL := help
.PHONY: help docs docs-test quickstart test test-slow check format setup clean bench-engine bench-strategies bench-selection bench-overhead bench-scale bench-search chaos fuzz cluster-smoke audit bench-families smoke-families

help: ## Show this text
	@echo "make quickstart   is the first thing to type; the rest:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "PYTHON=python3.12 picks an interpreter, TORCH_INDEX=https://... a build of torch."

quickstart: $(STAMP) ## Search embedded glyphs for some minutes, export the winner, say what next
	@$(BIN)/metasearch quickstart

test: $(STAMP) ## Run the tests, all but the slow ones
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(STAMP) ## Run the slow tests
	@$(BIN)/python -m pytest -q -m slow

check: $(STAMP) ## Check format, lint, types and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/tidy.py

format: $(STAMP) ## Format, and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(STAMP) ## Install the hooks that check a commit
	$(BIN)/pre-commit install

bench-engine: ## Time the engine beside its peers (ARGS=--quick: 3 minutes), in .venv-bench
	@$(MAKE) --no-print-directory VENV=$(BENCH_VENV) $(BENCH_VENV)/.stamp-bench
	@$(BENCH_VENV)/bin/python -m benchmarks.engine $(ARGS)

bench-families: $(STAMP) ## Meta-train every family for the same seconds (ARGS="--seconds 60 --omniglot PATH")
	@$(BIN)/python -m benchmarks.families $(ARGS)

smoke-families: $(STAMP) ## Search, export and generate with every shipped search, small (ARGS="--omniglot PATH")
	@$(BIN)/python -m benchmarks.smoke $(ARGS)

bench-strategies: $(STAMP) ## Compare every strategy with random, in five regimes (ARGS="--regimes noisy --seeds 3")
	@$(BIN)/python -m benchmarks.strategies $(ARGS)

bench-search: $(STAMP) ## Replay searches on recorded trials: compute to a reference score (ARGS="--seeds 100")
	@$(BIN)/python -m benchmarks.search $(ARGS)

bench-selection: $(STAMP) ## Time the choice of tasks against the meta-step it is for
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.selection

bench-overhead: $(STAMP) ## What a search costs beside its trials, ours and others' (ARGS="--work trivial 2s 10s")
	@$(BIN)/python -m benchmarks.overhead $(ARGS)

bench-scale: $(STAMP) ## What a search costs at 100 to 10,000 trials (ARGS="--backend ray --plot scale.png")
	@$(BIN)/python -m benchmarks.scale $(ARGS)

chaos: $(STAMP) ## Kill searches, workers and machines, signal them, fill their disks
	@$(BIN)/python -m pytest -q -s -rs -m "slow and not ray" tests/chaos $(ARGS) & beside=$$!; \
	$(BIN)/python -m pytest -q -s -rs -m "slow and ray" tests/chaos $(ARGS); with=$$?; \
	wait $$beside; without=$$?; \
	for code in $$with $$without; do test $$code -eq 0 -o $$code -eq 5 || exit 1; done  # 5: none

fuzz: $(STAMP) ## Read 5,000 damaged files and hostile folders, and watch what that does (ARGS="--seed 1")
	@$(BIN)/python -m tests.fuzz $(ARGS)
	@$(BIN)/python -m pytest -q -s -m "slow or not slow" tests/safety/test_hostile_folder.py

cluster-smoke: $(STAMP) ## Run searches on a real Slurm, over ssh, in a bucket, as jobs; skips what is not here
	@$(BIN)/python -m pytest -q -s -rs -m slow tests/smoke/test_cluster.py $(ARGS) & beside=$$!; \
	$(BIN)/python -m pytest -q -s -rs -m slow tests/smoke --ignore=tests/smoke/test_cluster.py $(ARGS); \
	with=$$?; wait $$beside; without=$$?; \
	for code in $$with $$without; do test $$code -eq 0 -o $$code -eq 5 || exit 1; done  # 5: none

audit: $(STAMP) ## Look up the pinned packages in the list of known faults
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/python -m pip_audit --strict --disable-pip --no-deps -r constraints.txt $(ARGS)

docs: ## Build the documentation into build/site, in .venv-docs
	@test -x $(DOCS_VENV)/bin/mkdocs || { $(PYTHON) -m venv $(DOCS_VENV) && \
	  $(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt; }
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --strict && echo "open build/site/index.html"

docs-test: $(STAMP) ## Type what the README and the guides tell to type
	@$(BIN)/python -m pytest -q -m "slow or not slow" tests/docs tests/test_guides.py tests/test_readme.py

clean: ## Remove .venv and what tools leave behind; runs stay
	rm -rf $(VENV) $(BENCH_VENV) $(DOCS_VENV) build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no '$(PYTHON)' here; metasearch needs Python 3.11, 3.12 or 3.13." \
	       "Install one, or say where it is: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "'$(PYTHON)' is $$($(PYTHON) --version 2>&1); metasearch needs Python 3.11, 3.12 or" \
	       "3.13. Say where one is: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its module venv or ensurepip is missing." \
	       "Install it, on Debian and Ubuntu with: apt install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV): 2 GB or more, some minutes, once" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --index-url $(TORCH_INDEX) $$(grep '^torch==' constraints.txt))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[search,test]'
	@touch $(STAMP)

$(VENV)/.stamp-bench: $(STAMP) benchmarks/build_learn2learn.sh
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[bench]'
	@benchmarks/build_learn2learn.sh $(BIN)/python || \
	  echo "learn2learn could not be built; the tables go without it" >&2
	@touch $@
