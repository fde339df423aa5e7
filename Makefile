# On a fresh machine with Python 3.11 or newer and make, each target alone sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help sanity quick test lint bench sweep gpu-check docs notebooks wheel-check clean

help:
	@echo "make sanity       train the LSTM and the GPT on modular addition: the main experiment"
	@echo "make quick        the same pipeline in half a minute"
	@echo "make test         all tests (PyTorch is the reference)"
	@echo "make lint         ruff and pyright"
	@echo "make bench        a training step side by side with PyTorch"
	@echo "make sweep        the same over batch, width and length, as a figure in runs/sweep"
	@echo "make gpu-check    on a machine with a GPU: all its tests and benchmarks, in 8 minutes"
	@echo "make docs         texts, reference and reports as a site: open build/site/index.html"
	@echo "make notebooks    the chapters to learn from as notebooks, in build/notebooks"
	@echo "make wheel-check  build the wheel, run it in a clean environment without torch"

sanity: $(VENV)/.experiments $(VENV)/.fast
	$(BIN)/python -m experiments.sanity --launcher processes --workers 2

quick: $(VENV)/.experiments $(VENV)/.fast
	$(BIN)/python -m experiments.sanity --scale small --out runs/quick

test: $(VENV)/.test
	$(BIN)/python -c 'import minigrad; minigrad.use_kernels()'  # compile once, not in each process
	$(BIN)/python -m pytest -n 2 --dist worksteal  # in order, so fixtures of modules are made once

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.step

sweep: $(VENV)/.test
	$(BIN)/python -m benchmarks.sweep

# By the Python that has CuPy and Triton, which nothing here installs: PYTHON=... for another.
gpu-check:
	$(PYTHON) -m benchmarks.gpu

# The reports are made of the published records, beside which they lie in the site.
docs: $(VENV)/.docs
	rm -rf build/site
	$(BIN)/python -m zensical build --strict --clean
	mkdir build/site/results/grokking
	for sweep in build/site/results/*/sweep.json; do \
	  cp -r $$(dirname $$sweep) build/site/results/grokking; done
	$(BIN)/python -m experiments.report --read build/site/results
	rm -r build/site/results/grokking/*/
	$(BIN)/python -m website.check build/site

notebooks: $(VENV)/.notebooks
	$(BIN)/python -m exercises.notebooks --out build/notebooks

wheel-check: $(VENV)/bin/python
	rm -rf build/wheel build/clean
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/clean
	build/clean/bin/pip install --quiet "$$(echo build/wheel/minigrad-*.whl)[experiments]"
	cd build/clean && bin/python -c "import importlib.util as u; assert u.find_spec('torch') is None"
	cd build/clean && bin/python -m models.count --model gpt --d 128 --layers 2
	cd build/clean && bin/python -m experiments.sanity --scale small --out quick

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist
