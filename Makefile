SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Every process compiles all modules again where the environment forbids to keep the result.
export PYTHONDONTWRITEBYTECODE :=
STAMP := .venv/.installed
MINISTACK := .tools/ministack/.installed

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

venv: $(STAMP) ## the Python environment in .venv

tools: $(STAMP) ## Prometheus, Alertmanager and node_exporter: found, or fetched into .tools
	@$(BIN)/python -m demo.stack.tools

servers: $(STAMP) ## other versions of Prometheus and Alertmanager, and VictoriaMetrics, in .tools/servers
	@$(BIN)/python -m demo.stack.servers

browser: $(STAMP) ## Chromium for the console's tests: found, or fetched into .tools
	@$(BIN)/python -m demo.stack.chromium

places: $(STAMP) ## ten thousand alerts in accounts and regions that look alike
	$(BIN)/pytest --hypothesis-profile fuzz --timeout 7200 tests/end_to_end/test_several_accounts.py

fuzz: $(STAMP) ## the tests with hostile inputs, with a hundred times as many inputs
	$(BIN)/pytest -n 2 --hypothesis-profile fuzz --timeout 3600 tests/end_to_end/test_fuzz.py tests/actions/audit/test_fuzz.py \
		tests/actions/catalog/test_fuzz.py

fuzz-incidents: $(STAMP) ## a thousand schedules of a chat, a pager and tickets that lose, repeat, reorder and refuse
	INCIDENT_SCHEDULES=1000 $(BIN)/pytest --timeout 7200 tests/incidents/test_schedules.py

kill-incidents: $(STAMP) ## a receiver killed while it calls an unkind chat, pager and tickets (KILLS=20 SEED=1)
	$(BIN)/python -m bench.incidents $(or $(KILLS),20) $(or $(SEED),1)

database: $(STAMP) ## PostgreSQL for tests of replicas: found, or fetched into .tools
	@$(BIN)/python -m demo.stack.postgres

$(MINISTACK): $(STAMP) requirements-ministack.lock
	rm -rf .tools/ministack
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --target .tools/ministack -r requirements-ministack.lock
	@touch $@

ministack: $(MINISTACK) ## an emulator of AWS by others, for tests

lint: $(STAMP) ## ruff, mypy and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# By itself: beside other tests both machines are busy, and the model tells no one from the other.
MACHINES = tests/end_to_end/test_machines.py

test: lint tools browser database proxy ministack ## lint and all tests, as required before a change lands
	@$(BIN)/python -m demo.stack.servers trixie
	@$(BIN)/python -m demo.machines.image || true
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore $(MACHINES)
	$(BIN)/pytest $(MACHINES)

test-servers: tools servers browser ## the chain, and what is read of samples, on each of these servers
	for release in bookworm trixie sid; do \
	  PATH="$(CURDIR)/.tools/servers/$$release/root/usr/bin:$$PATH" $(BIN)/pytest \
	    tests/end_to_end/test_chain.py tests/end_to_end/test_vmalert.py tests/evidence/test_freshness.py \
	    tests/deploy || exit 1; \
	done

proxy: $(STAMP) ## HAProxy for `make chaos`: found, or fetched into .tools
	@$(BIN)/python -m demo.stack.haproxy

machines: tools ## user-mode Linux for the demo: fetched into .tools, and tried out
	@$(BIN)/python -m demo.machines.image

screenshots: tools browser ## screenshots of the console for docs/img
	$(BIN)/python -m tests.console.take_screenshots

demo: tools ## break a chain and watch it heal (ONCE=1 ends by itself, FLEET=simulated, INCIDENTS=a,b)
	@exec $(BIN)/smartcloudops demo $(if $(ONCE),--once) $(if $(FLEET),--fleet $(FLEET)) $(if $(INCIDENTS),--incidents $(INCIDENTS))

lab: tools ## a labelled set from real Linux machines that break on schedule (OUT=folder SEED=1 MINUTES=60)
	@test -n "$(OUT)" || { echo "OUT= is needed: a new folder"; exit 2; }
	$(BIN)/python -m demo.lab.labelled_set $(OUT) --seed $(or $(SEED),1) --minutes $(or $(MINUTES),60)

chaos: tools database proxy ## receivers and database killed at random in a storm (ROUNDS=60 SEED=1)
	$(BIN)/python -m bench.chaos.rounds $(or $(ROUNDS),60) 500 $(or $(SEED),1)

soak: $(STAMP) ## a steady load for MINUTES=30: memory, handles and records must not grow
	$(BIN)/python -m bench.load.soak $(or $(MINUTES),30)

stress: $(STAMP) ## a hundred thousand alerts whose decisions may break
	STRESS_ALERTS=100000 $(BIN)/pytest --timeout 7200 tests/workflow/test_dispatcher.py

replacements: $(STAMP) ## replacements cut off in virtual time, or by kills (TIMES=1000 KILLS=20 SEED=1)
	$(BIN)/python -m bench.chaos.replacements $(or $(TIMES),1000) $(or $(KILLS),20) $(or $(SEED),1)

bench-decisions: tools ## the share of right decisions on labelled incidents (SEED=n)
	$(BIN)/python -m bench.scenes.decisions --seed $(or $(SEED),1)

backtest-demo: tools ## decisions of an hour, made again from Prometheus alone (SEED=n INCIDENTS=48)
	$(BIN)/python -m bench.scenes.backtested --seed $(or $(SEED),1) --incidents $(or $(INCIDENTS),48)

bench: tools database ## latency and throughput, compared with baselines of the same run
	$(BIN)/python -m bench

bench-console: browser ## first paints and searches of the console, before and after a flood (ALERTS=50000)
	$(BIN)/python -m bench.load.console $(or $(ALERTS),50000)

bench-remedies: tools ## what remedies cost the callers of real machines (TIMES=20 of each)
	$(BIN)/python -m bench.remedies --times $(or $(TIMES),20)

bench-scale: database ## fleets of 100 to 10,000 instances in up to 20 accounts and 4 regions
	$(BIN)/python -m bench.scale $(SIZES)

bench-rules: tools ## what becomes of the alerts of rule sets (RULES=folder of rule files)
	@test -n "$(RULES)" || { echo "RULES= is needed: a folder of rule files"; exit 2; }
	$(BIN)/python -m bench.rules $(RULES)

model: $(STAMP) ## train the shipped model (DATA=folder of labelled sets)
	@test -n "$(DATA)" || { echo "DATA= is needed: a folder of labelled sets"; exit 2; }
	OMP_NUM_THREADS=1 $(BIN)/smartcloudops train --rehearse --out models/shipped \
	  $(foreach set,$(wildcard $(DATA)/*/alerts.jsonl),--data $(patsubst %/,%,$(dir $(set))))

reference: $(STAMP) ## generate pages and schemas from the code
	$(BIN)/python -m receiver.cli.reference.generate

dashboards: $(STAMP) ## generate Grafana's dashboards
	$(BIN)/python -m dashboards

lock: $(STAMP) ## update the lock files
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade --extra dev pyproject.toml -o requirements-dev.lock
	grep -oE 'hatchling==[0-9.]+' pyproject.toml | head -1 | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade - -o requirements-build.lock
	echo ministack | $(BIN)/uv pip compile -q --no-deps --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade - -o requirements-ministack.lock

audit-deps: $(STAMP) ## known vulnerabilities of the production packages (queries PyPI)
	$(BIN)/uvx --from pip-audit==2.10.1 pip-audit --strict --require-hashes --disable-pip -r requirements.lock

dist: $(STAMP) ## wheel, sdist and lock in dist/, installed into an empty environment and tested
	rm -rf dist .installed
	$(BIN)/uv build -q --offline --no-build-isolation --python $(BIN)/python --out-dir dist .
	cp requirements.lock dist/
	$(PYTHON) -m venv .installed
	.installed/bin/pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r dist/requirements.lock
	.installed/bin/pip install -q --disable-pip-version-check --no-deps --no-index dist/*.whl
	.installed/bin/pip check --disable-pip-version-check
	INSTALLED=$(CURDIR)/.installed $(BIN)/pytest -q tests/deploy/test_dist.py
	cd dist && sha256sum smartcloudops-* requirements.lock > SHA256SUMS

sbom: $(STAMP) ## the production packages as CycloneDX in build/sbom.json
	@mkdir -p build
	$(BIN)/uvx --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o build/sbom.json requirements.lock

clean: ## remove all files that the targets made
	rm -rf .venv .tools .demo .installed build dist

.PHONY: help backtest-demo venv places tools machines servers test-servers browser database proxy ministack lint test screenshots demo lab bench bench-scale bench-rules chaos replacements soak fuzz fuzz-incidents kill-incidents bench-decisions bench-console bench-remedies model reference dashboards lock audit-deps dist sbom clean
