# make demo      analyse a dump that comes with the source
# make test      all tests
# make lint      ruff and mypy
# make captures  boot and break real kernels in QEMU (needs the packages of CONTRIBUTING.md)
# make exam      analyse all captures, compare with the truth about each
# make bench     speed and memory beside other tools

PYTHON ?= python3
VENV ?= .venv
DEMO ?= corpus/dumps/6.12-null-chain.vmcore.zst
POSTMORTEM_CACHE ?= $(HOME)/.cache/postmortem
KERNELS ?= --kernel 6.1 --kernel 6.12
# As captured if there are captures: unpacking is not what is measured.
BENCH ?= $(firstword $(wildcard $(POSTMORTEM_CACHE)/6.*/null-chain/vmcore) $(DEMO))

export POSTMORTEM_CACHE

bin := $(VENV)/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint captures exam bench clean

demo: $(VENV)/.installed
	$(bin)/postmortem analyze $(DEMO)

test: $(VENV)/.installed-dev
	$(bin)/python -m pytest -n auto

lint: $(VENV)/.installed-dev
	$(bin)/ruff check .
	$(bin)/mypy

captures: $(VENV)/.installed-dev
	$(bin)/python -m corpus.capture $(KERNELS)

exam: $(VENV)/.installed-dev
	$(bin)/python -m corpus.exam

bench: $(VENV)/.installed-dev
	$(bin)/python benchmarks/analyze.py --dump $(BENCH)

$(bin)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(bin)/python
	$(pip) install -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(bin)/python
	$(pip) install -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
