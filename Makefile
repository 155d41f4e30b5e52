# One target for each chore, with its sentence. Bare `make` prints them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python

.PHONY: help
help: ## Print what can be made.
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name does; do printf '  make %-13s %s\n' "$$name" "$$does"; done

# Made again when the lock file changes.
.venv/.ready: pyproject.toml uv.lock scripts/setup
	@scripts/setup

.PHONY: setup
setup: .venv/.ready ## Make .venv from the lock file.

.PHONY: demo
demo: setup ## Trace a latency spike to its log lines without Docker, in a minute; DEMO="--fault none" passes options.
	@$(PYTHON) -m demo $(DEMO)

.PHONY: story
story: setup ## Run the demo and put its report into the README.
	@$(PYTHON) -m tests.demo.readme

LOAD_OPTIONS = $(if $(PROFILE),--profile "$(PROFILE)") $(if $(LOOP),--loop "$(LOOP)") $(if $(RATE),--rate "$(RATE)") \
  $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(HOST),--host "$(HOST)") $(if $(WORKERS),--workers "$(WORKERS)")

.PHONY: load
load: setup ## Make a measured run and judge it; PROFILE=spike, LOOP=, RATE=, SECONDS=, HOST=, WORKERS=, VERDICT=--no-stack.
	@$(PYTHON) -m loadtest.run $(LOAD_OPTIONS) && $(PYTHON) -m triage verdict $(VERDICT)

.PHONY: test
test: setup ## Run every test that needs nothing but this machine.
	@$(PYTHON) -m pytest tests --ignore=tests/stack --ignore=tests/journey --ignore=tests/prove \
	  --ignore=tests/servers --ignore=tests/integrations --ignore=tests/test_install.py

.PHONY: test-install
test-install: setup ## Follow the README's "Use it in your own service" in a new environment (needs PyPI; 1 minute).
	@$(PYTHON) -m pytest tests/test_install.py

.PHONY: lint
lint: setup ## Look at format, style and types.
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy .

.PHONY: audit
audit: setup ## Ask osv.dev for known vulnerabilities of all locked packages (needs the internet).
	@PATH="$$PWD/.venv/bin:$$PATH" uv audit --locked

.PHONY: check
check: lint test ## Lint, types and tests: what CI runs first.

.PHONY: servers
servers: setup ## Build Loki, Prometheus and Alloy for test-stack, once (30 minutes).
	@PATH="$$PWD/.venv/bin:$$PATH" scripts/servers

.PHONY: test-stack
test-stack: setup ## Run the tests against real servers: native ones, or with STACK=up those of docker compose.
	@$(PYTHON) -m pytest tests/stack tests/journey

.PHONY: pictures
pictures: setup ## Take the pictures of the pages, on the walk in a browser; with STACK=up, of the stack of docker compose.
	@PICTURES=docs/pictures $(PYTHON) -m pytest tests/journey

.PHONY: prove-stack
prove-stack: setup ## Kill, freeze and flood the whole stack in containers; writes docs/proof.md (22 minutes).
	@$(PYTHON) -m pytest tests/prove --capture=no

.PHONY: dashboards
dashboards: setup ## Write grafana/dashboards/*.json from their source.
	@$(PYTHON) -m grafana.build

# The servers have their own environment, so that the project's does not need them.
.venv-servers/.ready: pyproject.toml uv.lock .venv/.ready
	@uv=$$(command -v uv || echo .venv/bin/uv); UV_PROJECT_ENVIRONMENT=.venv-servers UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-true} \
	  "$$uv" sync --quiet --locked --no-default-groups --group servers
	@touch $@

.PHONY: test-servers
test-servers: .venv-servers/.ready ## Start a service with every common ASGI server, and test what it logs (3 minutes).
	@.venv-servers/bin/python -m pytest tests/servers

# The peers live in an environment of their own, so that none of them is in that of the project.
.venv-bench/.ready: pyproject.toml uv.lock .venv/.ready
	@uv=$$(command -v uv || echo .venv/bin/uv); UV_PROJECT_ENVIRONMENT=.venv-bench UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-true} \
	  "$$uv" sync --quiet --locked --no-default-groups --group bench
	@touch $@

.PHONY: bench
bench: .venv-bench/.ready ## Measure what the instrumentation costs, beside others; writes bench/RESULTS.md (5 minutes).
	@.venv-bench/bin/python -m bench.overhead

# The tools of docs/integrations.md live in an environment of their own, like the peers.
.venv-integrations/.ready: pyproject.toml uv.lock .venv/.ready
	@uv=$$(command -v uv || echo .venv/bin/uv); UV_PROJECT_ENVIRONMENT=.venv-integrations UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-true} \
	  "$$uv" sync --quiet --locked --no-default-groups --group integrations
	@touch $@

.PHONY: test-integrations
test-integrations: .venv-integrations/.ready ## Run the examples of docs/integrations.md beside OpenTelemetry, Celery, Sentry and others (2 minutes).
	@.venv-integrations/bin/python -m pytest tests/integrations

.PHONY: eval
eval: setup ## Ask `triage explain` for the cause of 35 runs of the demo; writes bench/EVAL.md (20 minutes).
	@$(PYTHON) -m bench.eval

.PHONY: bench-triage
bench-triage: setup ## Measure how long triage takes on a million lines; writes bench/TRIAGE.md (1 minute).
	@$(PYTHON) -m bench.triage

.PHONY: bench-stack
bench-stack: setup ## Measure how soon the stack is healthy, and its memory; writes bench/STACK.md (10 minutes).
	@$(PYTHON) -m bench.stack

.PHONY: bench-load
bench-load: setup ## Stop the service under an open and a closed loop, and measure a generator; writes bench/LOAD.md (5 minutes).
	@$(PYTHON) -m bench.load

.PHONY: format
format: setup ## Format the code.
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix-only .
