# `make train` and `make test` need Python 3.10 or newer and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install train test evidence clean

train: $(VENV)/.installed
	$(BIN)/python tools/train.py configs/digits/resnet8_resnet20_recipe.py

test: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -n 2 --dist loadscope

# The study of configs/evidence: hours of each comparison, then the comparisons, one after the other. Called again, it
# goes on. JOBS runs at a time; SEEDS and EPOCHS replace those of the configs; OPTIONS are fields of all runs, such as
# OPTIONS="model.precision=bf16"; DOWNLOAD=1 has torchvision download the data that otherwise are folders under data/;
# EVIDENCE is the folder of all runs.
JOBS ?= 1
EVIDENCE ?= work_dirs/evidence
STUDY := cifar10_resnet20_resnet56 cifar100_resnet20_resnet56 cifar10_vit_tiny_small

# The fields with which torchvision downloads the data of a comparison.
torchvision = $(if $(DOWNLOAD),$(foreach part,train val test,$(part)_dataloader.dataset.download=True \
	$(part)_dataloader.dataset.name=torch/$(firstword $(subst _, ,$(1)))))
fields = $(strip $(OPTIONS) $(torchvision))
compare = $(BIN)/python tools/compare.py configs/evidence/$(1).py --work-dir $(EVIDENCE)/$(1) --jobs $(JOBS) \
	$(if $(SEEDS),--seeds $(SEEDS)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(fields),--cfg-options $(fields))

define newline


endef

evidence: $(VENV)/.installed
	$(foreach pair,$(STUDY),$(call compare,$(pair)) --forecast$(newline))
	$(foreach pair,$(STUDY),$(call compare,$(pair))$(newline))

install: $(VENV)/.installed

$(VENV)/.installed: setup.py requirements/runtime.txt requirements/tests.txt requirements/energy.txt requirements/export.txt requirements/html.txt requirements/loggers.txt requirements/ray.txt requirements/slurm.txt requirements/streams.txt requirements/constraints.txt
	@echo "installing into $(VENV), which takes a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[tests]'
	@touch $@

clean:
	rm -rf $(VENV)
