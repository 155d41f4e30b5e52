# One target per chore. `make` without a target lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python
# Processes start in half the time with cached bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets.
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name does; do printf '  make %-17s %s\n' "$$name" "$$does"; done

# Updated when the lock file changes.
.venv/.ready: pyproject.toml uv.lock scripts/setup
	@scripts/setup

.PHONY: setup
setup: .venv/.ready ## Create .venv from the lock file.

.PHONY: demo
demo: setup ## Trace a latency spike to its log lines without Docker, in a minute; DEMO="--fault none" passes options.
	@$(PYTHON) -m demo $(DEMO)

.PHONY: story
story: setup ## Run the demo and put its report into the README.
	@$(PYTHON) -m tests.demo.readme

LOAD_OPTIONS = $(if $(PROFILE),--profile "$(PROFILE)") $(if $(LOOP),--loop "$(LOOP)") $(if $(RATE),--rate "$(RATE)") \
  $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(HOST),--host "$(HOST)") $(if $(WORKERS),--workers "$(WORKERS)")

.PHONY: load
load: setup ## Run a measured load test and evaluate it; PROFILE=spike, LOOP=, RATE=, SECONDS=, HOST=, WORKERS=, VERDICT=--no-stack.
	@$(PYTHON) -m loadtest.run $(LOAD_OPTIONS) && $(PYTHON) -m triage verdict $(VERDICT)

.PHONY: test
test: setup ## Run all tests that need no servers and no network.
	@$(PYTHON) -m pytest -n auto --dist loadfile tests --ignore=tests/stack --ignore=tests/journey --ignore=tests/prove \
	  --ignore=tests/kubernetes --ignore=tests/servers --ignore=tests/integrations --ignore=tests/test_install.py

.PHONY: test-quick
test-quick: setup ## Run the tests that start no process (under a minute).
	@$(PYTHON) -m pytest -q -n auto --dist loadfile tests/app/observability tests/triage tests/grafana tests/docs/test_pages.py tests/test_compose.py \
	  --ignore=tests/app/observability/test_uvicorn.py --ignore=tests/app/observability/test_copied_folder.py \
	  --ignore=tests/triage/test_broken_pipe.py

.PHONY: test-properties
test-properties: setup ## Run the property tests with 5,000 examples each.
	@$(PYTHON) -m pytest --hypothesis-profile=thorough -m hypothesis tests/app/observability tests/triage/test_console.py

.PHONY: test-install
test-install: setup ## Follow the README's "Use it in your own service" in a new environment (needs PyPI; 1 minute).
	@$(PYTHON) -m pytest tests/test_install.py

.PHONY: lint
lint: setup ## Check format, style and types, and the shell scripts, the Dockerfile and the workflows.
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy .
	@PATH="$$PWD/.venv/bin:$$PATH" shellcheck scripts/setup scripts/servers .ci/run alloy/start.sh
	@PATH="$$PWD/.venv/bin:$$PATH" hadolint Dockerfile
	@PATH="$$PWD/.venv/bin:$$PATH" zizmor --offline --quiet .github

.PHONY: audit
audit: setup ## Check all locked packages for known vulnerabilities at osv.dev (needs the internet).
	@PATH="$$PWD/.venv/bin:$$PATH" uv audit --locked

.PHONY: check
check: lint test ## Run lint, type checks and tests: the first step of CI.

.PHONY: servers
servers: setup ## Build Loki, Prometheus and Alloy for test-stack (30 minutes, only once).
	@PATH="$$PWD/.venv/bin:$$PATH" scripts/servers

.PHONY: test-stack
test-stack: setup ## Run the tests against real servers: three native stacks side by side, or docker compose with STACK=up.
	@$(PYTHON) -m pytest $(if $(STACK),,-n 3 --dist loadfile) tests/stack tests/journey

.PHONY: pictures
pictures: setup ## Take the screenshots for the documentation in a browser; with STACK=up, from docker compose.
	@PICTURES=docs/pictures $(PYTHON) -m pytest tests/journey

.PHONY: prove-stack
prove-stack: setup ## Kill, freeze and flood the whole stack in containers; writes docs/proof.md (22 minutes).
	@$(PYTHON) -m pytest tests/prove --capture=no

.PHONY: prove-kubernetes
prove-kubernetes: setup ## Replace and kill pods in the cluster of the kubeconfig; writes docs/kubernetes-proof.md (5 minutes).
	@$(PYTHON) -m pytest tests/kubernetes --capture=no --exitfirst

.PHONY: dashboards
dashboards: setup ## Generate grafana/dashboards/*.json from their source.
	@$(PYTHON) -m grafana.build

.PHONY: rules
rules: setup ## Generate the Kubernetes object with the rules of prometheus/rules/.
	@$(PYTHON) -m deploy.kubernetes.build

# The ASGI servers are installed in a separate environment, because the project does not depend on them.
.venv-servers/.ready: pyproject.toml uv.lock .venv/.ready
	@uv=$$(command -v uv || echo .venv/bin/uv); UV_PROJECT_ENVIRONMENT=.venv-servers UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-true} \
	  "$$uv" sync --quiet --locked --no-default-groups --group servers
	@touch $@

.PHONY: test-servers
test-servers: .venv-servers/.ready ## Start a service with every common ASGI server and test its log lines (3 minutes).
	@.venv-servers/bin/python -m pytest tests/servers

# The packages to compare with are installed in a separate environment, because the project does not depend on them.
.venv-bench/.ready: pyproject.toml uv.lock .venv/.ready
	@uv=$$(command -v uv || echo .venv/bin/uv); UV_PROJECT_ENVIRONMENT=.venv-bench UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-true} \
	  "$$uv" sync --quiet --locked --no-default-groups --group bench
	@touch $@

.PHONY: bench
bench: .venv-bench/.ready ## Compare the CPU cost of the instrumentation with other packages; writes bench/RESULTS.md (5 minutes).
	@.venv-bench/bin/python -m bench.overhead

# The tools of docs/integrations.md are also installed in a separate environment.
.venv-integrations/.ready: pyproject.toml uv.lock .venv/.ready
	@uv=$$(command -v uv || echo .venv/bin/uv); UV_PROJECT_ENVIRONMENT=.venv-integrations UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-true} \
	  "$$uv" sync --quiet --locked --no-default-groups --group integrations
	@touch $@

.PHONY: test-integrations
test-integrations: .venv-integrations/.ready ## Run the examples of docs/integrations.md with OpenTelemetry, Celery, Sentry and others (2 minutes).
	@.venv-integrations/bin/python -m pytest tests/integrations

.PHONY: eval
eval: setup ## Test whether `triage explain` finds the cause in 35 demo runs; writes bench/EVAL.md (20 minutes).
	@$(PYTHON) -m bench.eval

.PHONY: bench-why
bench-why: setup ## Test whether the tour explains 10 incidents, and none in 10 quiet runs; writes bench/WHY.md (20 minutes).
	@$(PYTHON) -m bench.why

.PHONY: bench-triage
bench-triage: setup ## Measure how long triage takes for a million lines; writes bench/TRIAGE.md (1 minute).
	@$(PYTHON) -m bench.triage

.PHONY: bench-dashboards
bench-dashboards: setup ## Measure Grafana's queries with 24 hours of data; needs GRAFANA_HOME; writes bench/DASHBOARDS.md (15 minutes).
	@$(PYTHON) -m bench.dashboards

.PHONY: bench-stack
bench-stack: setup ## Measure the start-up time and memory of the stack; writes bench/STACK.md (10 minutes).
	@$(PYTHON) -m bench.stack

.PHONY: bench-load
bench-load: setup ## Compare open and closed loop during a stall, and measure the generator; writes bench/LOAD.md (5 minutes).
	@$(PYTHON) -m bench.load

.PHONY: bench-hostile
bench-hostile: setup ## Measure normal requests next to 200 hostile connections; writes bench/HOSTILE.md (2 minutes).
	@$(PYTHON) -m bench.hostile

.PHONY: format
format: setup ## Format the code.
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix-only .
