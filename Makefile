# `make train` and `make test` need Python 3.10 or newer and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install train test clean

train: $(VENV)/.installed
	$(BIN)/python tools/train.py configs/digits/resnet8_resnet20_consecutive.py

test: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -n 2

install: $(VENV)/.installed

$(VENV)/.installed: setup.py requirements/runtime.txt requirements/tests.txt requirements/energy.txt requirements/streams.txt requirements/constraints.txt
	@echo "installing into $(VENV), which takes a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[tests]'
	@touch $@

clean:
	rm -rf $(VENV)
