# make pretrain and make test need nothing but Python 3.10 to 3.13: the environment .venv is made when it is
# missing and brought up to date when pyproject.toml or constraints.txt changed. Another interpreter:
#   make test PYTHON=/usr/bin/python3.12

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first that runs; 3.11 is the version that is tested.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.10; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && { echo $$python; break; }; done)

RUN := .venv/bin/python
BEAM_EXTRAS := beam,dask
EXTRAS := cpu,text,onnx,konlpy,corpus,kiwipiepy,finetune,hub,dev
OUT ?= out
# How long `make soak SECONDS=600` goes on. (A shell has a SECONDS of its own.)
SOAK_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),600)
# Files of tests at once: as many as there are cores, in the order that tests/conftest.py gives them.
PYTEST := -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

# What computes numbers that a processor rounds in its own way: networks, optimizers, training, comparisons with
# transformers. Tests of integers, of files, and of a missing compiler have the same result on every processor.
NUMBERS := tests/test_model.py tests/test_optimization.py tests/test_variants.py tests/test_kernels.py \
	tests/test_packing.py::test_packed_examples_do_not_see_each_other \
	tests/test_local_attention.py tests/test_muon_training.py \
	$(addprefix tests/test_training.py::test_,the_loss_falls_and_is_reported resumed_equals_uninterrupted_bit_for_bit \
	other_ways_to_compute_reach_about_the_same_loss evaluation_counts_every_record_once_whatever_the_batch \
	init_checkpoint_takes_ours_and_tensorflow_1s) \
	--deselect=tests/test_kernels.py::test_a_host_without_a_compiler_trains_by_plain_functions

.PHONY: help pretrain test test-long test-ci test-avx2 test-portable parity soak fuzz beam tpu compilers tpu-check gpu-check \
	accelerator-check-all dist docs test-all check fix

help:
	@echo "make pretrain   pretrains a small Korean BERT on real text, into $(OUT)/ (a few minutes)"
	@echo "make test       the tests, less the long and the slow ones"
	@echo "make check      format, lint, layers (imports between packages), types"
	@echo "make fix        formats, and corrects what the linter can correct"
	@echo "make test-long  those that take more than some ten seconds: killed, split and compiled runs"
	@echo "make test-portable  the tests that compute numbers, as other processors compute them"
	@echo "make parity     compares with transformers and torch, which it installs"
	@echo "make test-ci    make test, test-long and parity in one run"
	@echo "make soak       kills and full disks at random moments for SECONDS=600, comparing bits"
	@echo "make fuzz       random strings through every kind of tokenizer, STRINGS=100000 for each"
	@echo "make beam       tests --engine=beam, with Apache Beam in .venv-beam"
	@echo "make tpu        installs the extra tpu into .venv-tpu and imports it; needs no TPU"
	@echo "make compilers  installs the compilers for --compile_for into .venv-tpu and .venv-xla; needs no device"
	@echo "make tpu-check  compiles small steps for a TPU, without one; make gpu-check: for a GPU"
	@echo "make accelerator-check-all  the same for large models and every way of training: an hour or more"
	@echo "make dist       builds the source distribution and the wheel into dist/, and checks both with twine"
	@echo "make docs       builds the documentation site into site/, with MkDocs in .venv-docs"
	@echo "make test-all   everything: slow tests, parity, Beam, and the tests on TensorFlow 2.20 in .venv-tf2.20"

# Of the extras, konlpy is there for the text that it carries: constitution and bills of Korea. The modern recipe
# learns more of it in the same time (docs/recipes.md); RECIPE=bert make pretrain trains as BERT was.
pretrain: .venv/ready
	@PYTHON="$$PWD/$(RUN)" RECIPE="$${RECIPE:-modern}" scripts/pretrain.sh "$(OUT)"

test: .venv/ready
	@$(RUN) $(PYTEST) -m 'not slow and not long and not parity'

# Runs that are killed, split into processes or compiled as a whole.
test-long: .venv/ready
	@$(RUN) $(PYTEST) -m 'long and not slow and not parity'

# All three in one run, which shares what they train, and ends when both cores are done.
test-ci: .venv/ready-parity
	@$(RUN) $(PYTEST) -m 'not slow'

# As on a processor without AVX-512 and bfloat16: rounding differs, and the tests must not notice. Without oneDNN, of
# which TensorFlow takes bfloat16 products wherever the processor has the instructions, also where
# ONEDNN_MAX_CPU_ISA forbids them: the process then ends with a segmentation fault.
test-avx2: .venv/ready-parity
	@TF_ENABLE_ONEDNN_OPTS=0 XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(RUN) $(PYTEST) -m 'not slow and not long' $(NUMBERS)

test-portable: test-avx2
	@echo "== oneDNN with AVX2, float32"
	@ONEDNN_MAX_CPU_ISA=AVX2 XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(RUN) $(PYTEST) -m 'not slow and not long' -k 'not bfloat16' $(NUMBERS)
	@echo "== SSE 4.1, one core, float32"
	@ONEDNN_MAX_CPU_ISA=SSE41 XLA_FLAGS=--xla_cpu_max_isa=SSE4_2 taskset -c 0 $(RUN) -m pytest -q -m 'not slow and not long' \
		-k 'not bfloat16' $(NUMBERS)

parity: .venv/ready-parity
	@$(RUN) $(PYTEST) -m 'parity and not slow'

soak: .venv/ready
	@$(RUN) scripts/soak.py --seconds=$(SOAK_SECONDS)

STRINGS ?= 100000
fuzz: .venv/ready
	@$(RUN) scripts/fuzz_tokenizers.py --strings=$(STRINGS)

# Without TPU_SKIP_MDS_QUERY, libtpu asks Google Cloud's metadata server, which is not there elsewhere.
tpu: .venv-tpu/ready
	@TPU_SKIP_MDS_QUERY=1 TF_CPP_MIN_LOG_LEVEL=2 .venv-tpu/bin/python -c "import tensorflow, morphbert.train.step; \
		print('The extra tpu imports: TensorFlow', tensorflow.__version__)"

# TensorFlow for TPUs lowers the step, and JAX, which brings the compilers of TPUs and GPUs, compiles it.
compilers: .venv/ready .venv-tpu/ready .venv-xla/ready

tpu-check: .venv/ready .venv-tpu/ready .venv-xla/ready
	@$(RUN) scripts/check_accelerators.py --targets=v5e:1x1 --jobs=2

gpu-check: .venv/ready .venv-xla/ready
	@$(RUN) scripts/check_accelerators.py --targets=h100 --jobs=2

accelerator-check-all: .venv/ready .venv-tpu/ready .venv-xla/ready
	@$(RUN) scripts/check_accelerators.py --targets=v5e:1x1,h100 --all

beam: .venv-beam/ready
	@.venv-beam/bin/python -m pytest -q tests/test_beam.py

dist: .venv-dist/ready
	@rm -rf dist build
	@.venv-dist/bin/python -m build --no-isolation . >/dev/null
	@.venv-dist/bin/python -m twine check --strict dist/*

# Links, anchors and docstrings that do not resolve are errors.
docs: .venv-docs/ready
	@output=$$(NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --clean 2>&1) || \
		{ echo "$$output" >&2; exit 1; }
	@echo "The site is in site/: open site/index.html"

test-all: check .venv/ready-parity .venv-tf2.20/ready
	@echo "== TensorFlow 2.21: all tests"
	@$(RUN) $(PYTEST)
	@echo "== TensorFlow 2.20: the tests less slow and parity"
	@.venv-tf2.20/bin/python $(PYTEST) -m 'not slow and not parity'
	@echo "== Apache Beam"
	@$(MAKE) beam

check: .venv/ready
	@status=0; \
	$(call quietly,format,$(RUN) -m ruff format --check .); \
	$(call quietly,lint,$(RUN) -m ruff check .); \
	$(call quietly,layers,.venv/bin/lint-imports); \
	$(call quietly,types,$(RUN) -m mypy); \
	exit $$status

fix: .venv/ready
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

.venv/ready: pyproject.toml setup.py constraints.txt
	@$(call environment,.venv,constraints.txt,-e '.[$(EXTRAS)]')
	@touch $@

.venv/ready-parity: .venv/ready
	@echo "Adding torch and transformers to .venv …" >&2
	@$(RUN) -m pip install -qq --no-compile -c constraints.txt --no-build-isolation -e '.[parity]'
	@touch $@

.venv-tf2.20/ready: pyproject.toml setup.py constraints-tf2.20.txt
	@$(call environment,.venv-tf2.20,constraints-tf2.20.txt,-e '.[$(EXTRAS)]')
	@touch $@

.venv-tpu/ready: pyproject.toml setup.py constraints-tpu.txt
	@$(call environment,.venv-tpu,constraints-tpu.txt,-e '.[tpu]')
	@touch $@

.venv-xla/ready: constraints-xla.txt
	@$(call environment,.venv-xla,constraints-xla.txt,jax jax-cuda13-pjrt libtpu nvidia-cuda-nvcc nvidia-nvvm)
	@touch $@

.venv-dist/ready: Makefile
	@$(call environment,.venv-dist,constraints.txt,build twine==7.0.0)
	@touch $@

.venv-docs/ready: pyproject.toml setup.py constraints-docs.txt
	@$(call environment,.venv-docs,constraints-docs.txt,-e '.[docs]')
	@touch $@

.venv-beam/ready: pyproject.toml setup.py constraints-beam.txt
	@$(call environment,.venv-beam,constraints-beam.txt,-e '.[$(BEAM_EXTRAS)]' pytest)
	@touch $@

# $(call quietly,NAME,COMMAND): one line, with the command's output only where it fails.
define quietly
	printf '%-8s' '$(1)'; if output=$$($(2) 2>&1); then echo ok; else echo FAILED; echo "$$output"; status=1; fi
endef

# $(call environment,FOLDER,CONSTRAINTS,WHAT): an environment with every version as pinned. One that was cut off
# in the middle, or whose interpreter is gone, is made again. seqeval comes as source alone and needs setuptools-scm.
# Python compiles what is imported when it is imported; pip would compile all of it.
define environment
	if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
		if [ -z "$(PYTHON)" ]; then \
			echo "Python 3.10 to 3.13 with its module venv is needed (Debian: apt-get install python3-venv)." \
				"Or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
		echo "Making $(1) with $$($(PYTHON) --version) …" >&2; \
		$(PYTHON) -m venv --clear $(1); \
	else echo "Bringing $(1) up to date …" >&2; fi; \
	start=$$SECONDS; \
	$(1)/bin/python -m pip install -qq --no-compile -c $(2) setuptools setuptools-scm; \
	$(1)/bin/python -m pip install -qq --no-compile -c $(2) --no-build-isolation $(3); \
	echo "$(1) is ready ($$((SECONDS - start)) s)." >&2
endef
