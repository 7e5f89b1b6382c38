# make run, make site, make test, make cover, make fuzz, make lint, make pictures, make setup, make lock, make clean.
# PYTHON=… and VENV=… choose the interpreter and the environment; LOCK= takes the newest versions of everything;
# ARGS=… are handed on: make run ARGS="suite.yaml --examples 50", make test ARGS="-k referee", make test ARGS=--all;
# WORKERS=… processes test at once, as many as there are processors if nothing is said; 0 is one, without any other.
SHELL := /bin/bash
.SHELLFLAGS := -c
VENV := .venv
PYTHON :=
ARGS :=
LOCK := development.txt
WORKERS := auto
CANDIDATES := python3 python3.13 python3.12 python3.11
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# an installation is up to date when its stamp is newer than pyproject.toml and names this folder (a moved checkout
# leaves scripts that point to where it was); paths may hold spaces, so the shell compares them, not make
.PHONY: run site test cover fuzz lint pictures lock setup clean environment
run: EXTRAS :=
run: environment
	@"$(VENV)/bin/advbench" run $(ARGS)

# the pages of the results that the repository keeps, without running anything
site: EXTRAS :=
site: environment
	@"$(VENV)/bin/python" results/join.py build/results.sqlite
	@"$(VENV)/bin/advbench" render --db build/results.sqlite --out build/site $(ARGS)

test: EXTRAS := test
test: environment
	@"$(VENV)/bin/python" -m pytest --numprocesses=$(WORKERS) --dist=loadfile $(ARGS)

cover: EXTRAS := test
cover: environment
	@"$(VENV)/bin/python" tests/covering.py $(ARGS)

fuzz: EXTRAS := test
fuzz: environment
	@"$(VENV)/bin/python" tests/fuzz $(ARGS)

lint: EXTRAS := lint
lint: environment
	@"$(VENV)/bin/python" -m ruff check .
	@"$(VENV)/bin/python" -m ruff format --check .
	@"$(VENV)/bin/python" -m mypy

pictures: EXTRAS := browser
pictures: environment
	@"$(VENV)/bin/python" docs/pictures/make.py $(ARGS)

# the newest versions of what development needs, in an environment of its own
lock:
	@$(MAKE) --no-print-directory environment VENV=build/lock LOCK= EXTRAS=test,lint,browser,ray,imagenet
	@head -n 2 development.txt > build/development.txt
	@build/lock/bin/python -m pip freeze --all --exclude advbench --exclude pip --exclude setuptools --exclude wheel \
	  | grep -vE '^(nvidia|cuda|triton|-e)| @ ' >> build/development.txt
	@mv build/development.txt development.txt

# what a contributor needs, at once
setup: EXTRAS := test,lint,browser,ray,imagenet
setup: environment

environment:
	@set -eu -o pipefail; \
	venv="$(VENV)"; stamp="$$venv/.advbench-$(or $(EXTRAS),run)"; \
	lock="$(if $(EXTRAS),$(LOCK))"; \
	if [ "$$stamp" -nt pyproject.toml ] && { [ -z "$$lock" ] || [ "$$stamp" -nt "$$lock" ]; } && [ "$$(cat "$$stamp")" = "$$PWD" ] && "$$venv/bin/python" -c ''; then exit 0; fi; \
	if ! "$$venv/bin/python" -m pip --version >/dev/null 2>&1; then \
	  found=; \
	  for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found="$$python"; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "advbench needs Python 3.11 or newer with its venv module, and found none (looked for: $(or $(PYTHON),$(CANDIDATES)))." >&2; \
	    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
	    exit 2; \
	  fi; \
	  echo "Creating $$venv with $$("$$found" --version)"; \
	  if [ -e "$$venv/pyvenv.cfg" ]; then "$$found" -m venv --clear "$$venv"; else "$$found" -m venv "$$venv"; fi; \
	fi; \
	echo "Installing advbench into $$venv; PyTorch makes the first time a matter of minutes"; \
	show='s/^ *Downloading \(.*[kMG]B)\).*/  \1/p'; \
	"$$venv/bin/python" -m pip install --no-warn-conflicts $${lock:+-c "$$lock"} -e ".$(if $(EXTRAS),[$(EXTRAS)])" | sed -n "$$show"; \
	printf '%s' "$$PWD" > "$$stamp"

# databases and pages that a run has written stay
clean:
	@if [ -e "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find benchmark plugins leaderboard tests -name __pycache__ -type d -prune -exec rm -rf {} +
