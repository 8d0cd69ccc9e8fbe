PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test slow check bench audit docs clean

## make .venv with everything the tests and the demo need
install: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "misodice needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[smax,mamujoco,llm,export,benchmark,tensorboard,plot,report,video,docs,dev]'
	touch $@

## train on the game-free engine from nothing
demo: install
	$(BIN)/misodice fit --config configs/smacv2_zerg.yaml

test: install
	$(BIN)/python -m pytest

slow: install
	$(BIN)/python -m pytest -m slow

## lint, format, types, imports by layer, docs
check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

## samples per second of each stage beside a bare loop, a whole fit, rollouts, start-up (docs/performance.md); wants an
## idle machine. BENCH="--against COMMIT" holds stages and fit against another commit
bench: install
	$(BIN)/python perf/throughput.py $(BENCH)

## known vulnerabilities of the pinned versions; needs the network
audit: install
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

docs: install
	$(BIN)/mkdocs serve

clean:
	rm -rf .venv build site *.egg-info
