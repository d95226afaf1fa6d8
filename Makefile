# make demo      analyse a dump that comes with the source
# make test      all tests
# make lint      ruff and mypy
# make wheelhouse  all that an installation without network needs, in one folder
# make captures  boot and break real kernels in QEMU (needs the packages of CONTRIBUTING.md)
# make test-captures  tests of dump formats on them
# make test-slow  triages that are killed, PostgreSQL, Dask, S3
# make test-pages  reports in a browser: width, contrast, hostile names (needs chromium)
# make exam      analyse all captures, compare with the truth about each
# make live      boot a guest and analyse its /proc/kcore inside it
# make sysrq-oracle  press SysRq keys in guests, compare with what we print of their dumps
# make own-kernel  build a kernel with KDB, lockdep and the latency tracers
# make accounting-oracle  what guests counted of themselves, compared with what we read
# make trace-oracle  trace guests, compare with what we print of their dumps (wants trace-cmd)
# make drgn-tests  drgn's own tests of a kernel, in a guest, on our program
# make fuzz      feed the log half with mutated input
# make mutation  change rules by one operator or number at a time: does a test notice?
# make fuzz-dump feed the dump half with damaged dumps
# make fuzz-campaign  thousands of them, over captures too; CASES has a line for each
# make bench     speed and memory beside other tools

PYTHON ?= python3
VENV ?= .venv
DEMO ?= corpus/dumps/6.12-null-chain.vmcore.zst
POSTMORTEM_CACHE ?= $(HOME)/.cache/postmortem
KERNELS ?= --kernel 6.1 --kernel 6.12
# Seconds after which no further machine is started; what is missing is listed.
CAPTURE_SECONDS ?= inf
CAPTURE_JOBS ?= 1
FUZZ_SECONDS ?= 120
MUTANTS ?= 60
# Of the sample of mutants; it is printed.
SEED ?=
EXAM ?=
# As captured if there are captures: unpacking is not what is measured.
BENCH ?= $(firstword $(wildcard $(POSTMORTEM_CACHE)/6.*/null-chain/vmcore) $(DEMO))

export POSTMORTEM_CACHE

bin := $(VENV)/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-slow test-captures test-pages wheelhouse lint captures exam live sysrq-oracle trace-oracle accounting-oracle own-kernel drgn-tests fuzz fuzz-dump fuzz-campaign mutation bench clean

demo: $(VENV)/.installed
	$(bin)/postmortem analyze $(DEMO)

test: $(VENV)/.installed-dev
	$(bin)/python -m pytest -n auto -m "not capture and not chromium and not slow" -rs  # -rs: what is skipped, and why

# For a machine without network: copy the folder there, then in a venv
#   pip install --no-index --find-links wheelhouse postmortem
# FOR=3.13 collects for another version of Python than this one's.
wheelhouse: $(bin)/python
	rm -rf wheelhouse
	$(pip) wheel --no-deps --wheel-dir wheelhouse .
	$(pip) download --dest wheelhouse --only-binary=:all: \
		$(if $(FOR),--python-version $(FOR)) wheelhouse/postmortem-*.whl

lint: $(VENV)/.installed-dev
	$(bin)/ruff check .
	$(bin)/mypy

captures: $(VENV)/.installed-dev
	$(bin)/python -m corpus.capture $(KERNELS) --seconds $(CAPTURE_SECONDS) --jobs $(CAPTURE_JOBS)

# Tests that need captures: a dump in every form that makedumpfile writes, cut anywhere.
test-captures: $(VENV)/.installed-dev
	$(bin)/python -m pytest -m capture -rs  # one process: they share makedumpfile and its folder

# Triages that are killed, on a real PostgreSQL, on a Dask cluster of several processes.
test-slow: $(VENV)/.installed-dev
	$(pip) install -e '.[postgresql,dask,remote,s3]' 'aiobotocore[boto3]' 'moto[s3]>=5' flask flask-cors
	$(bin)/python -m pytest -m slow -rs -n 0

# Reports in headless Chromium, judged by axe-core. No part of the dev extra: 120 MB of them.
test-pages: $(VENV)/.installed-dev
	$(pip) install -e '.[pages]'
	$(bin)/python -m pytest -m chromium -rs

exam: $(VENV)/.installed-dev
	$(bin)/python -m corpus.exam $(EXAM)

# Inside a guest, on its own /proc/kcore: Python under emulation takes a minute or two.
live: $(VENV)/.installed-dev
	$(bin)/python -m corpus.live --kernel 6.12

sysrq-oracle: $(VENV)/.installed-dev
	$(bin)/python -m corpus.capture --only sysrq-rest --only sysrq-crowd --only sysrq-nodes --only sysrq-kill
	$(bin)/python -m corpus.sysrq_oracle
	$(bin)/python -m corpus.oom_oracle
	$(bin)/python -m corpus.memory_oracle
	$(bin)/python -m corpus.memory_oracle

trace-oracle: $(VENV)/.installed-dev
	$(bin)/python -m corpus.capture --only 'trace-*'
	$(bin)/python -m corpus.trace_oracle --dat

accounting-oracle: $(VENV)/.installed-dev
	$(bin)/python -m corpus.capture --only 'counted-*'
	$(bin)/python -m corpus.accounting_oracle

# With KDB, lockdep and the latency tracers; wants flex, bison, bc, libelf-dev and some minutes.
own-kernel: $(VENV)/.installed-dev
	$(bin)/python -m corpus.own_kernel

# drgn's source package from PyPI has the tests. DRGN_TESTS=helpers.test_mm runs some.
DRGN_TESTS ?=
drgn-tests: $(VENV)/.installed-dev
	$(bin)/python -m corpus.drgn_tests --kernel 6.12 $(DRGN_TESTS)

fuzz: $(VENV)/.installed-dev
	$(bin)/python tests/fuzz/fuzz_log.py -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096

# cosmic-ray is no part of the dev extra: it brings thirty packages along.
mutation: $(VENV)/.installed-dev
	$(pip) install -e '.[mutation]'
	nice $(bin)/python tests/mutation/run.py --mutants $(MUTANTS) $(if $(SEED),--seed $(SEED))

# Prints its seed; FUZZ_DUMP="--seed N --kind PATTERN --count 1 -v DUMP" shows a case again.
fuzz-dump: $(VENV)/.installed-dev
	PYTHONHASHSEED=0 $(bin)/python -m tests.fuzz.fuzz_dump --seconds $(FUZZ_SECONDS) $(FUZZ_DUMP)

# A line of JSON a case; another campaign adds to it.
CASES ?= $(POSTMORTEM_CACHE)/fuzz-cases.jsonl
CAMPAIGN ?= $(wildcard corpus/dumps/*.vmcore.* corpus/dumps/oracle/*.vmcore.* $(POSTMORTEM_CACHE)/*/*/vmcore)
fuzz-campaign: $(VENV)/.installed-dev
	PYTHONHASHSEED=0 nice -n 19 $(bin)/python -m tests.fuzz.campaign --seconds $(FUZZ_SECONDS) $(CASES) $(CAMPAIGN)

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
