# make demo: the main job on a simulated log. make test: every check. make bench: every benchmark.
# All set up .venv first.
PYTHON ?= python3
VENV ?= .venv
# An extra package index for PyTorch's CPU wheels, where the default one only has the CUDA build.
TORCH_INDEX ?=
# cpu or cuda; found out from the driver when left empty.
BUILD ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
# Processes that run tests side by side; a file's tests stay in one.
TEST_JOBS ?= 2
export OMP_NUM_THREADS ?= 1

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(BUILD)
IN_PARALLEL := -n $(TEST_JOBS) --dist loadfile

.PHONY: install demo test test-fast test-newest lint examples bench bench-smoke clean
install: $(STAMP)

$(STAMP): setup.cfg $(wildcard packaging/*.* packaging/*/pyproject.toml)
	@sh packaging/install.sh "$(PYTHON)" "$(VENV)" "$(BUILD)" "$(TORCH_INDEX)"
	@touch $@

demo: install
	$(BIN)/interactrank demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: install lint
	$(BIN)/pytest $(IN_PARALLEL)

# Without the tests that are marked slow: under two minutes on two cores.
test-fast: install
	$(BIN)/pytest $(IN_PARALLEL) -m "not slow"

# The tests with the newest torch, torchrec and FBGEMM that setup.cfg allows, in an environment of their own.
# TESTS chooses some. Where the index has torch 2.14.1 only as a CUDA build, it is a download of 5 GB.
TESTS ?=
test-newest:
	@sh packaging/install.sh "$(PYTHON)" .venv-newest "$(BUILD)" "$(TORCH_INDEX)" newest
	.venv-newest/bin/pytest $(IN_PARALLEL) $(TESTS)

examples: install
	@for example in $(sort $(wildcard examples/[0-9]*.py)); do \
		echo "== $$example" && $(BIN)/python "$$example" || exit 1; \
	done

# Every benchmark; results go to benchmarks/results. Up to half an hour on two cores.
bench: install
	$(BIN)/python -m benchmarks.suite

# Every benchmark at a tiny size; what it writes must be a valid result. No time is judged.
bench-smoke: install
	$(BIN)/python -m benchmarks.suite --smoke

clean:
	rm -rf $(VENV) build dist *.egg-info
