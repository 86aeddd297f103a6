PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo help setup lock test test-smoke test-slow test-deploy test-browser check coverage docs golden cache-smoke cache-dev cache-full cache-status cache-upgrade

demo: setup ## set everything up, write a small TUSZ-like corpus, run the whole graph, show the scores
	$(BIN)/brainbrr demo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r target what; do printf '%-14s %s\n' "$$target" "$$what"; done

setup: $(VENV)/installed ## the environment in .venv, from pyproject.toml and constraints.txt

# torch comes first and alone: whatever build of the pinned release this machine has stays.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt torch
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev,deploy,docs]'
	sed -i 's/^from dagster/$(FIND_PROJECT); &/' $(BIN)/dagster
	touch $@

# `dagster` of this environment finds the project in a shell without `eval "$(brainbrr env)"`, too,
# and spends less of the time of its commands, which are short, on looking for garbage.
FIND_PROJECT := from brainbrr_core.machine.memory import collect_rarely; collect_rarely(); from brainbrr_pipeline.any_shell import find_project; find_project()

# What pip chooses for an empty environment, without installing it. What a build adds to its
# version (+cpu) is left out, so that each machine takes its own build of a release.
lock: setup ## write the newest releases that pyproject.toml allows into constraints.txt
	$(BIN)/pip install --dry-run --ignore-installed --quiet --report $(VENV)/lock.json '.[dev,deploy,docs]'
	$(BIN)/python -c "$$LOCKED" $(VENV)/lock.json > $(VENV)/lock.txt
	LC_ALL=C sort --ignore-case --output constraints.txt $(VENV)/lock.txt

define LOCKED
import json, sys
for package in json.load(open(sys.argv[1]))["install"]:
    name, version = package["metadata"]["name"], package["metadata"]["version"]
    if name != "brainbrr":
        print(name, version.partition("+")[0], sep="==")
endef
export LOCKED

# In random order (its seed is printed, and --randomly-seed=N repeats it), one process a
# core; all tests of a file in one process, since they share what they made.
test: setup ## the tests, in random order, without those of the four below
	$(BIN)/pytest -m "not slow and not deploy and not browser" -n logical --maxprocesses 4 --dist loadfile

test-smoke: setup ## the whole way only, small
	$(BIN)/pytest -m smoke

# What takes minutes, and five times as many examples of each property, drawn at random.
test-slow: setup ## what takes minutes, and properties on many random examples
	$(BIN)/pytest -m slow
	$(BIN)/pytest -m "hypothesis and not slow" --hypothesis-profile=thorough

# apt-get install postgresql redis-server
test-deploy: setup ## a deployment with PostgreSQL, Redis and Celery workers, whose tests follow one another
	$(BIN)/pytest -m deploy -p no:randomly

# apt-get install chromium chromium-driver; pictures are left in browser-pictures/
test-browser: setup ## Dagster's UI in a browser
	$(BIN)/pytest -m browser

golden: setup ## digests of a small run, to compare two checkouts on one machine
	$(BIN)/python -m tests.support.golden

check: setup ## ruff, mypy, the contracts between packages, and the coverage that was last measured
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@if [ -f .coverage ]; then echo "coverage, when last measured: $$($(BIN)/coverage report --format=total) %"; \
	  else echo "coverage: not measured here yet; run \`make coverage\`"; fi

# Branches too, of processes that tests start as well. Lines that are not reached are named.
coverage: setup ## the tests of `make test` once more, and which lines and branches they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow and not deploy and not browser" -n logical --maxprocesses 4 --dist loadfile; \
	  status=$$?; $(BIN)/coverage combine --quiet; \
	  $(BIN)/coverage report --skip-covered --show-missing --sort=cover; exit $$status

# A warning is an error. Examples that are as they were are not run again.
docs: setup ## the documentation as a site, in docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

cache-smoke: setup ## build the shards of the profile smoke
	$(BIN)/brainbrr cache build --profile smoke

cache-dev: setup ## build the shards of the profile dev
	$(BIN)/brainbrr cache build --profile dev

cache-full: setup ## build the shards of every recording
	$(BIN)/brainbrr cache build --profile full

cache-status: setup ## what is fresh, missing, stale, corrupt or excluded
	$(BIN)/brainbrr cache status

cache-upgrade: setup ## build what a new version made stale
	$(BIN)/brainbrr cache build
