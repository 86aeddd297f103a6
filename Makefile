PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo setup test test-smoke test-slow test-deploy test-browser check cache-smoke cache-dev cache-full cache-status cache-upgrade

demo: setup
	$(BIN)/brainbrr demo

setup: $(VENV)/installed

# torch comes first and alone: whatever build of the pinned release this machine has stays.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt torch
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev,deploy]'
	touch $@

# In random order (its seed is printed, and --randomly-seed=N repeats it), one process a
# core; all tests of a file in one process, since they share what they made.
test: setup
	$(BIN)/pytest -m "not slow and not deploy and not browser" -n logical --maxprocesses 4 --dist loadfile

test-smoke: setup
	$(BIN)/pytest -m smoke

# What takes minutes, and five times as many examples of each property, drawn at random.
test-slow: setup
	$(BIN)/pytest -m slow
	$(BIN)/pytest -m "hypothesis and not slow" --hypothesis-profile=thorough

# apt-get install postgresql redis-server
test-deploy: setup
	$(BIN)/pytest -m deploy

# apt-get install chromium chromium-driver; pictures are left in browser-pictures/
test-browser: setup
	$(BIN)/pytest -m browser

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

cache-smoke: setup
	$(BIN)/brainbrr cache build --profile smoke

cache-dev: setup
	$(BIN)/brainbrr cache build --profile dev

cache-full: setup
	$(BIN)/brainbrr cache build --profile full

cache-status: setup
	$(BIN)/brainbrr cache status

cache-upgrade: setup
	$(BIN)/brainbrr cache build
