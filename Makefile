# make infer   classify a picture (IMAGE=path, MODEL=name)
# make test    everything the tests need, then lint, types and all tests (TRAIN=0: without PyTorch)
# make test-quick  what neither simulates nor trains: a minute or two, while working
# make test-cpus   the tests of training and export again, as other processors compute
# make formal  proofs about the RTL's interfaces, and that each fails for a damaged module
# make docs    the documentation as a site in build/site
# The first two install the system packages that are missing; DEPS=no forbids it and names them.
PYTHON ?= python3
DEPS   ?= yes
TRAIN  ?= 1
export DEPS TRAIN
VENV   ?= .venv
MODEL  ?= q-vit-160fps
IMAGE  ?= examples/chelsea.jpg
BIN    := $(VENV)/bin
# Python compiles what is imported; pip would compile all of PyTorch.
INSTALL := install --quiet --disable-pip-version-check --no-compile
PIP    := $(BIN)/pip $(INSTALL)
# A stamp of its own, since an environment without PyTorch does not do for the tests that want it.
TESTED := $(VENV)/installed-test$(if $(filter 0,$(TRAIN)),-without-torch)
ENGINE := $(wildcard quasar_runtime/devices/native/*.py quasar_runtime/devices/native/*/*.[ch])

# Each process begins with half of the tests, in order, so that what tests share is made once, and
# takes half of what the other has left when it is done.
export PYTEST_ADDOPTS := --dist worksteal

.PHONY: infer test test-quick test-cpus formal lint unit numpy1 numpy1-tests pynq pynq-tests interface zoo
.PHONY: notebooks clean

infer: $(VENV)/installed
	@$(BIN)/quasar-infer --model "$(MODEL)" "$(IMAGE)"

test: test-tools prepared unit numpy1 pynq

# numpy 1 has no wheels for Python 3.13, and PYNQ 3 and 4 need numpy 1.
HAS_NUMPY1 := $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))'

# One core makes the environments of numpy 1 and of PYNQ while the other one lints.
.PHONY: prepared environments
prepared: $(TESTED)
	@$(MAKE) --no-print-directory --output-sync=target -j2 lint environments
environments: $(TESTED)
	@if $(HAS_NUMPY1); then $(MAKE) --no-print-directory $(VENV)-numpy1/installed $(VENV)-pynq3/installed \
		$(VENV)-pynq4/installed; fi

# pyproject.toml has the types checked as for Python 3.10; numpy's for Python 3.12 on are only for those.
TYPES_OF := 'import sys; v = sys.version_info; print(f"--python-version 3.{v[1]}" * (v[1] > 11))'
lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror quasar_runtime/devices/native/*/*.[ch] tests/runtime/*/*.c tools/campaigns/*/*.c
	$(BIN)/mypy $$($(BIN)/python -c $(TYPES_OF)) $(if $(filter 0,$(TRAIN)),-p quasar_runtime -p hw_src)
	$(BIN)/python -m hw_src.lint

unit: $(TESTED)
	$(BIN)/python -m pytest -n 2

test-quick: $(TESTED)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

# As a processor without AVX computes, and as one with AVX2 but without VNNI, with two threads.
test-cpus: $(VENV)/installed-test
	features=$$($(BIN)/python -c \
		'from numpy._core._multiarray_umath import __cpu_dispatch__ as d; print(*d)'); \
	NPY_DISABLE_CPU_FEATURES="$$features" \
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Prescott \
		$(BIN)/python -m pytest -n 2 -m floats
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell OMP_NUM_THREADS=2 \
		$(BIN)/python -m pytest -n 1 -m floats

# The boards run PYNQ, which wants numpy below 2: the runtime's tests again with numpy 1.26, but for
# simulations, other compilers' builds and whole models.
NUMPY1_LEFT_OUT := cycles devices/test_native_builds.py model/test_zoo_bytes.py \
	model/test_model_file_mutations.py
numpy1-tests: $(VENV)-numpy1/installed
	TRAIN=0 $(VENV)-numpy1/bin/python -m pytest -n 2 tests/runtime \
		$(addprefix --ignore=tests/runtime/,$(NUMPY1_LEFT_OUT))

# The board's driver over the simulated board, with both versions of PYNQ that boards carry.
pynq-tests: $(VENV)-pynq3/installed $(VENV)-pynq4/installed
	TRAIN=0 PYTHONPATH=. $(VENV)-pynq3/bin/python -m pytest -n 2 tests/board
	TRAIN=0 PYTHONPATH=. $(VENV)-pynq4/bin/python -m pytest -n 2 tests/board

numpy1 pynq: $(TESTED)
	@if $(HAS_NUMPY1); then $(MAKE) --no-print-directory $@-tests; \
	else echo "make $@: left out, needs Python 3.12 or older; $(VENV) has $$($(BIN)/python -V)"; fi

# The board's processor, and the board, emulated: as root, for an hour or more. docs/emulation.md.
.PHONY: arm64 zcu102
arm64: $(VENV)/installed
	PYTHON="$(abspath $(BIN)/python)" tools/board/arm64.sh
zcu102: $(VENV)/installed
	PYTHON="$(abspath $(BIN)/python)" tools/board/zcu102.sh --output docs/zcu102_transcript.txt

interface: $(VENV)/installed
	$(BIN)/python -m quasar_runtime.isa.emit

# The models of model_zoo/ from the published checkpoints and calibration images in ../shared/data.
zoo: $(VENV)/installed-test
	$(BIN)/quasar-train zoo

# The documentation as a site in build/site, every link checked; and the pictures in it and in README.
.PHONY: docs pictures
# The first use compiles Yosys' WebAssembly, which takes a minute or two.
formal: $(TESTED) $(VENV)/installed-formal
	$(BIN)/python -m hw_src.formal.proofs
	$(BIN)/python -m pytest tests/rtl/test_formal.py -k damaged

docs: $(VENV)/installed-docs
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server -d build/site"
pictures: $(VENV)/installed
	$(BIN)/python -m tools.pictures

# Run the notebooks again and keep what they show.
notebooks: $(VENV)/installed-test
	$(BIN)/python notebooks/execute.py

clean:
	rm -rf $(VENV) $(VENV)-numpy1 $(VENV)-pynq3 $(VENV)-pynq4 build *.egg-info quasar_runtime/devices/native/*.so

$(VENV)/bin/pip: | system
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.py pyproject.toml $(ENGINE) | $(VENV)/bin/pip
	$(PIP) -e .
	@touch $@

# One installation for both stamps: each builds the engine.
$(VENV)/installed-test: setup.py pyproject.toml $(ENGINE) | $(VENV)/bin/pip test-tools
	$(PIP) torch==2.13.0
	$(PIP) -e '.[test,train,rtl,notebook]'
	@touch $(VENV)/installed $@

$(VENV)/installed-test-without-torch: setup.py pyproject.toml $(ENGINE) | $(VENV)/bin/pip test-tools
	$(PIP) -e '.[test,search,rtl,notebook]'
	@touch $(VENV)/installed $@

$(VENV)/installed-formal: $(VENV)/installed
	$(PIP) -e '.[formal]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) -e '.[docs]'
	@touch $@

$(VENV)-numpy1/installed: $(TESTED)
	$(PYTHON) -m venv $(VENV)-numpy1
	$(VENV)-numpy1/bin/pip $(INSTALL) 'numpy==1.26.4' -e '.[test]'
	@touch $@

# Quasar itself is the checkout's, its engine built by the main environment.
PYNQ3 := 3.0.1
PYNQ4 := 4.0.0
$(VENV)-pynq%/installed: tools/requirements.py $(TESTED)
	$(PYTHON) -m venv $(VENV)-pynq$*
	$(BIN)/python tools/requirements.py board rtl > $(VENV)-pynq$*/requirements.txt
	$(VENV)-pynq$*/bin/pip $(INSTALL) 'pynq==$(PYNQ$*)' \
		'pytest>=7.4' 'pytest-xdist>=3.5' -r $(VENV)-pynq$*/requirements.txt
	@touch $@

.PHONY: system test-tools
system:
	@sh tools/system_packages.sh base "$(PYTHON)" "$(VENV)"

test-tools:
	@sh tools/system_packages.sh test "$(PYTHON)"
