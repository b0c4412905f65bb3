# make demo    hear it: installs what is needed, then plays the built-in conversation
# make bench   every benchmark, a report of them in out/report.md; ARGS="--tiny" (in out/tiny), ARGS="ring latency";
#              PEERS=peers installs what others wrote, too
# make test    every test, the live ones included where a sound server can be had
#
# VENV=dir PYTHON=python3.12 SYSTEM_PACKAGES=no   see tools/setup.sh

VENV ?= .venv
RUN   = $(VENV)/bin/python -m
ARGS ?=

.PHONY: demo test lint lint-rules lint-format lint-types lint-imports format bench warmup clean

demo: warmup
	@$(RUN) rtmedia demo $(ARGS)

warmup:
	@sh tools/setup.sh $(VENV) audio
	@$(RUN) rtmedia warmup

test:
	@sh tools/setup.sh $(VENV) audio test
	@$(RUN) pytest $(ARGS)

lint: lint-rules lint-format lint-types lint-imports

lint-rules lint-format lint-types lint-imports format: $(VENV)/lint
lint-rules:
	$(RUN) ruff check
lint-format:
	$(RUN) ruff format --check
lint-types:
	$(RUN) mypy --strict rtmedia
lint-imports:
	$(VENV)/bin/lint-imports
format:
	$(RUN) ruff format
	$(RUN) ruff check --fix

.PHONY: $(VENV)/lint
$(VENV)/lint:
	@sh tools/setup.sh $(VENV) lint

bench:
	@sh tools/setup.sh $(VENV) audio bench $(PEERS)
	@$(RUN) rtmedia bench --out out$(if $(findstring --tiny,$(ARGS)),/tiny) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
