# Everything happens in .venv inside this folder: nothing else on the machine is touched.
VENV := .venv
BIN := $(VENV)/bin
# The first Python from 3.11 to 3.13 that can make a virtual environment; `make PYTHON=... ` chooses another.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
# What Python compiles is kept, whatever the shell says: without it every worker of the tests compiles all of them anew.
export PYTHONDONTWRITEBYTECODE :=
SCENES := demo_data
OUT := demo_out
DENSE_OUT := demo_dense_out

# One worker for each core, but no more than memory holds: each keeps a TensorFlow of its own.
TEST_WORKERS ?= auto --maxprocesses 8

.PHONY: help demo demo-dense browser test test-fast test-lowest mutate fuzz lint lock format attack kill sanitize bench docs notebook clean

help:
	@echo "make demo   run the hybrid method on $(SCENES) and write a report, $(OUT)/report.html"
	@echo "make demo-dense  run the three dense networks on $(SCENES) and write a page, $(DENSE_OUT)/report.html"
	@echo "make browser  install Chromium for the tests of the labelling page (Debian, Ubuntu; as root)"
	@echo "make test   run every test that this machine can run, on all cores"
	@echo "make test-fast  run the tests that need neither a browser nor more than a few seconds each"
	@echo "make mutate  break the program on purpose in many places and see whether the tests notice (an hour)"
	@echo "make fuzz   damage the files of every reader for ten minutes (SECONDS=600 SEED=0 ATHERIS=)"
	@echo "make lint   check style, documentation, types and what is risky"
	@echo "make lock   write tests/lock.txt: the newest versions that setup.py admits, with their hashes"
	@echo "make attack  send the labelling page everything that should not get in (REQUESTS=2200 SEED=0)"
	@echo "make kill [N=1000] [SEED=0]  kill every command that writes, again and again, and see whether anything is lost"
	@echo "make sanitize  put the C++ of the CRF through hostile calls under the sanitizers of g++ (CASES=2000 SEED=0)"
	@echo "make bench  measure speed and memory beside the rivals"
	@echo "make docs   write docs/cli.md from the commands' own help, docs/api.md from the docstrings"
	@echo "make notebook  run the notebooks of docs/ and write them with their results"
	@echo "make clean  remove what these commands made"

demo: $(VENV)/installed
	$(BIN)/hybridseg demo $(OUT) --scenes $(SCENES)

demo-dense: $(VENV)/installed
	$(BIN)/hybridseg demo-dense $(DENSE_OUT) --scenes $(SCENES)

browser:
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || \
	command -v google-chrome >/dev/null || { apt-get update -qq && export DEBIAN_FRONTEND=noninteractive && \
	{ apt-get install -y -qq chromium-headless-shell || apt-get install -y -qq chromium; }; }

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n $(TEST_WORKERS)

test-fast: $(VENV)/installed-test
	$(BIN)/python -m pytest -n $(TEST_WORKERS) -m "not slow and not browser" --hypothesis-profile fast

# One thread: what is killed starts anew hundreds of times.
kill: export OMP_NUM_THREADS = 1
kill: export TF_NUM_INTRAOP_THREADS = 1
kill: export TF_NUM_INTEROP_THREADS = 1
kill: $(VENV)/installed-test
	$(BIN)/python -m tests.robustness.kill --n $(or $(N),1000) --seed $(or $(SEED),0)
	$(BIN)/python -m tests.robustness.kill --faults --seed $(or $(SEED),0)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive hybridseg tools setup.py conftest.py

# One version of everything for Python 3.11 to 3.13, with the hashes of its files: nothing of where they come from.
lock: $(BIN)/python
	$(BIN)/python -m pip install --quiet "uv>=0.13.9,<0.14"
	$(BIN)/uv pip compile setup.py --extra pydensecrf --extra test --extra lint --universal --python-version 3.11 \
	 --constraints tests/lock.in --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --upgrade --quiet --output-file tests/lock.txt

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The oldest versions that setup.py admits, in an environment of their own.
test-lowest: $(BIN)/python
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint tests/lowest.txt --editable ".[pydensecrf,test]"
	# Old packages warn of newer ones below them: here a warning is no failure.
	.venv-lowest/bin/python -m pytest -n $(TEST_WORKERS) -W default

mutate: $(VENV)/installed-test
	$(BIN)/python tools/mutate.py

SEED ?= 0
fuzz: SECONDS = 600
# ATHERIS=1 looks for new paths through some readers instead, where atheris is installed.
fuzz: $(VENV)/installed-test
	$(BIN)/python tests/robustness/$(if $(ATHERIS),fuzzcovered,fuzz).py --seconds $(SECONDS) --seed $(SEED)

REQUESTS ?= 2200
attack: $(VENV)/installed-test
	$(BIN)/python tests/robustness/attack.py --requests $(REQUESTS) --seed $(SEED)

CASES ?= 2000
SANITIZED := build/sanitize
KERNEL := hybridseg/crf/kernel
SANITIZE := g++ -std=c++17 -O1 -g -Wall -Wextra -Wno-psabi -fopenmp -I$(KERNEL)

# Threads are looked at in fewer cases, because each access to memory is: it takes about as long.
sanitize: $(SANITIZED)/memory $(SANITIZED)/threads
	$(SANITIZED)/memory $(CASES) $(SEED)
	$(SANITIZED)/threads $$(($(CASES) / 2)) $(SEED)

$(SANITIZED)/memory: OPTIONS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
$(SANITIZED)/threads: OPTIONS := -fsanitize=thread tests/robustness/sanitize/threads.cpp
$(SANITIZED)/%: $(wildcard $(KERNEL)/* tests/robustness/sanitize/*)
	@mkdir -p $(SANITIZED)
	$(SANITIZE) $(addprefix $(KERNEL)/,refine.cpp meanfield.cpp lattice.cpp passes.cpp) \
	 tests/robustness/sanitize/driver.cpp $(OPTIONS) -o $@

bench: $(VENV)/installed-test
	$(BIN)/python tests/benchmarks/bench_retile.py
	$(BIN)/python tests/benchmarks/bench_tiles.py
	$(BIN)/python tests/benchmarks/bench_crf.py
	$(BIN)/python tests/benchmarks/bench_semseg.py
	$(BIN)/python tests/benchmarks/bench_start.py
	$(BIN)/python tests/benchmarks/bench_feed.py
	$(BIN)/python tests/benchmarks/bench_lmdb.py
	$(BIN)/python tests/benchmarks/bench_label.py
	$(BIN)/python tests/benchmarks/bench_memory.py --check
	$(BIN)/python tests/benchmarks/bench_areas.py
	$(BIN)/python tests/benchmarks/bench_spread.py
	$(BIN)/python tests/benchmarks/bench_batch.py --scenes 1000 --mosaic 4000
	$(BIN)/python tests/benchmarks/bench_gigapixel.py

docs: $(VENV)/installed-test
	$(BIN)/python tools/write_cli_docs.py
	$(BIN)/python tools/write_api_docs.py

notebook: $(VENV)/installed-test
	$(BIN)/python tools/run_notebook.py

clean:
	rm -rf $(VENV) .venv-lowest $(OUT) $(DENSE_OUT) build *.egg-info hybridseg/crf/_kernel*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hybridseg needs Python 3.11, 3.12 or 3.13 with venv;\
	 install one (Debian, Ubuntu: apt install python3-venv) or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.py pyproject.toml $(wildcard hybridseg/crf/kernel/*) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[pydensecrf]"
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[pydensecrf,test,lint]"
	@touch $@
