# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
#
# Everything a contributor runs. `make check` is what CI runs; nothing but `pip` touches the network.

PYTHON ?= $(or $(shell command -v python3.11 || command -v python3),python3)
VENV   ?= .venv
# Programs of the random regression, and processes of the test-suite.
PROGRAMS ?= 5000
JOBS     ?= 2

BIN     := $(VENV)/bin
LPU     := $(BIN)/lpu
PIP     := $(BIN)/pip --disable-pip-version-check --quiet install --constraint constraints.txt
PRESETS := nano ulx3s ulx3s8 ulx3s16

# Of `make bitstream`; a board has a config and a config a clock, unless given here: CONFIG=nano CLOCK=50 (MHz).
BOARD ?= ulx3s
SEED  ?= 1

# Stamps: what is installed in the environment. The simulation needs a fraction of what development needs.
SIM := $(VENV)/.installed-sim
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup sim demo-board demo-llm demo-chips test check lint format types docs docs-check bench regress formal rtl bitstream area unit-clocks constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(DEV) ## install everything into .venv (again only when dependencies change)

sim: $(SIM) ## run the example network on the RTL and on the golden model, and compare
	$(BIN)/python examples/digits/sim.py

demo-board: $(SIM) ## run the example network on a virtual board, through a serial port, and compare
	$(BIN)/python examples/digits/board.py

demo-llm: $(SIM) ## let the example Llama write on the RTL and on the golden model, and compare
	$(BIN)/python examples/llama/demo.py

demo-chips: $(SIM) ## let it write on two linked chips of RTL, each with a clock of its own, and compare with one chip
	$(BIN)/python examples/llama/chips.py

test: $(DEV) ## run the test-suite
	$(BIN)/pytest -n $(JOBS)

check: lint types docs-check test sim ## everything CI checks

lint: $(DEV) ## style, format, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

format: $(DEV) ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## check types, with both checkers
	$(BIN)/mypy
	$(BIN)/pyright

docs: $(DEV) ## regenerate the generated parts of docs/
	$(BIN)/python -m openlpu.arch.docs
	$(BIN)/python -m openlpu.compiler.docs

docs-check: $(DEV) ## fail when a generated part of docs/ is stale
	$(BIN)/python -m openlpu.arch.docs --check
	$(BIN)/python -m openlpu.compiler.docs --check

bench: $(SIM) ## matrix products against their limits, and how fast everything is
	$(LPU) bench gemm --m 128 --k 576 --n 1536 --config lab32
	$(LPU) bench gemm --m 512 --k 512 --n 512 --config lab32
	$(LPU) bench gemv --k 160 --n 160 --config lab32
	$(LPU) bench gemv --k 448 --n 640 --config lab32
	$(LPU) bench gemv --k 576 --n 1536 --config lab32
	$(LPU) bench gemv --k 1024 --n 3200 --config lab32
	$(LPU) bench gemm --m 1024 --k 1024 --n 1024 --config tsp1
	$(LPU) bench lstm --hidden 512 --batch 1 --config tsp1
	$(LPU) bench lstm --hidden 512 --batch 32 --config tsp1
	$(LPU) bench ffn --m 1 --hidden 576 --ffn 1536 --config lab32
	$(LPU) bench ffn --m 128 --hidden 576 --ffn 1536 --config lab32
	$(LPU) bench layer --config lab32
	$(LPU) bench gemm --m 32 --k 64 --n 64 --config ulx3s --backend golden
	$(LPU) bench gemm --m 32 --k 64 --n 64 --config ulx3s --backend rtl
	$(BIN)/python -m openlpu.verif.bench
	$(BIN)/python -m openlpu.verif.line_rate

regress: $(DEV) ## many random programs and chips, full sweeps of operands, all proofs (PROGRAMS=5000)
	OPENLPU_REGRESS_PROGRAMS=$(PROGRAMS) $(BIN)/pytest -n $(JOBS) -m regress

formal: $(DEV) ## prove streams and queues of nano
	$(BIN)/pytest -n $(JOBS) -m "regress or not regress" tests/verif/test_formal_*.py

rtl: $(SIM) ## write the Verilog of each preset to build/rtl
	mkdir -p build/rtl
	for preset in $(PRESETS); do $(LPU) generate $$preset -o build/rtl/$$preset || exit 1; done

bitstream: $(DEV) ## build a chip for a board, with a report: build/BOARD-CONFIG (BOARD=ulx3s CONFIG= CLOCK= SEED=1)
	$(LPU) board build $(BOARD) --seed $(SEED) $(CONFIG:%=--config %) $(CLOCK:%=--clock %)

area: $(DEV) ## synthesise the presets that fit an ECP5, and rewrite the figures that `make regress` compares with
	$(BIN)/python -m openlpu.fpga.area

unit-clocks: $(DEV) ## place and route each unit of ulx3s16 alone, and rewrite the table of their areas and clocks
	$(BIN)/python -m openlpu.fpga.unit_clocks

constraints: $(DEV) ## pin the versions installed now
	{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

clean: ## delete what was built, except .venv
	rm -rf build dist .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find sw hdl verif fpga tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(SIM): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[sim]'
	touch $@

$(DEV): $(SIM)
	$(PIP) --editable '.[dev]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
