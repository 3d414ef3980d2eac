# Needs Python 3.11-3.13, pip and make. PYTHON= chooses the interpreter, VENV= where the packages go.
PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help venv quickstart test lint gate footprint clean

help:
	@echo "make quickstart   install everything into $(VENV), then quantize a model and show the table"
	@echo "make test         ruff, mypy and all tests"
	@echo "make lint         ruff and mypy"
	@echo "make gate         hold fresh files' sizes and accuracies against benchmarks/results/gate.json"
	@echo "make footprint    hold what the light install takes on a device against benchmarks/results/footprint.json"
	@echo "make venv         only make $(VENV), or check that it is up to date"
	@echo "make clean        remove what the tools left behind; $(VENV) stays"

venv:
	@$(PYTHON) .ci/make_venv.py $(VENV)

quickstart: venv
	$(BIN)/edgecnn quantize --model depthwise --data digits

# One thread per test process: as many run at once as there are cores. PYTHONPATH makes sure that they test this folder.
test: export OMP_NUM_THREADS = 1
test: export PYTHONPATH = $(CURDIR)
test: lint
	$(BIN)/python -m pytest -n auto

lint: venv
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

gate footprint: export OMP_NUM_THREADS = 1
gate footprint: export PYTHONPATH = $(CURDIR)
gate: venv
	$(BIN)/python -m benchmarks.gate

footprint: venv
	$(BIN)/python -m benchmarks.footprint --check

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache build dist edgecnn.egg-info
	find edgecnn tests benchmarks deploy .ci -name __pycache__ -type d -prune -exec rm -rf {} +
