# `make` lists the targets.

SHELL := /bin/bash
PYTHON ?= python3
TORCH_INDEX ?=
JOBS ?= 2
ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/installed

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'
	@printf '\nVariables of make install:\n'
	@printf '  PYTHON=python3.12   the Python (3.11 or later) that .venv is made from\n'
	@printf '  TORCH_INDEX=URL     take torch from this package index, for example\n'
	@printf '                      https://download.pytorch.org/whl/cpu (torch without CUDA)\n'
	@printf '                      (pypi: whatever pip finds by itself)\n'

.PHONY: install
install: $(INSTALLED)  ## create .venv with the pinned dependencies (done once)
	@echo 'FedTiny is installed in .venv.'

$(INSTALLED): pyproject.toml constraints.txt $(wildcard hatch_build.py fedtiny/engine/src/*)
	@PYTHON='$(PYTHON)' TORCH_INDEX='$(TORCH_INDEX)' .ci/install .venv
	@touch $@

.PHONY: demo
demo: $(INSTALLED)  ## ten people's smart-watch data in, a verified sparse int8 C model out
	$(BIN)/python -m sims.launch --config sims/configs/demo.toml $(ARGS)

.PHONY: test
test: $(INSTALLED)  ## the whole test suite, doctests included
	$(BIN)/pytest -n $(JOBS) --dist loadfile -rs $(ARGS)

.PHONY: coverage
coverage: $(INSTALLED)  ## the suite again, with the lines and branches that no test runs
	$(BIN)/pytest -n $(JOBS) --dist loadfile --cov --cov-report term --cov-report html:build/coverage $(ARGS)

.PHONY: firmware-test
firmware-test: install  ## firmware on emulated Cortex-M boards; installs compiler and QEMU
	.ci/apt gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm cppcheck ccache
	$(BIN)/pytest -m firmware -n $(JOBS) --dist worksteal tests/test_firmware_qemu.py \
	  tests/test_firmware_grid.py tests/test_firmware_activations.py \
	  tests/test_firmware_cmsis_nn.py tests/test_firmware_dense_scratch.py \
	  tests/test_engine_build.py tests/test_engine_aarch64.py tests/test_tflite_wheel.py \
	  tests/test_runtime_qemu.py tests/test_export_torch.py tests/test_from_torch.py tests/test_firmware_robust.py \
	  tests/test_adapt_personal.py tests/test_sensing_c.py tests/test_camera.py tests/test_codecs_trained.py \
	  tests/test_learn_on_device.py tests/test_cortex_m4.py $(ARGS)

.PHONY: deploy-test
deploy-test: $(INSTALLED)  ## real processes over TLS, flwr run, liars, hostile environments
	$(BIN)/pytest -m deploy -n $(JOBS) --dist loadfile tests/test_deploy_faults.py \
	  tests/test_deploy_federation.py tests/test_trust.py \
	  tests/test_environment.py tests/test_hostile_configs.py tests/test_local_privacy.py \
	  tests/test_backends.py tests/test_flower_strategy.py tests/test_tracking.py \
	  tests/test_study.py tests/test_data_privacy.py tests/test_ray_cluster.py \
	  tests/test_clock_runs.py tests/test_tiers_runs.py tests/test_tiers_shapes.py $(ARGS)

.PHONY: guide-test
guide-test: $(INSTALLED)  ## clients/README.md typed word for word, on two fresh Debians; as root
	.ci/apt debootstrap openssh-client iproute2 systemd-container
	$(BIN)/pytest -m deploy -rPs tests/test_deploy_guide_hosts.py $(ARGS)

.PHONY: pi-test
pi-test: $(INSTALLED)  ## a node with an AArch64 Python, emulated, in a real federation; as root
	.ci/apt debootstrap qemu-user-static g++-aarch64-linux-gnu
	$(BIN)/pytest -m deploy -rPs tests/test_deploy_pi.py $(ARGS)

.PHONY: soak
soak: $(INSTALLED)  ## a hundred rounds, a device that trains for 5 minutes: memory of all (20 minutes)
	FEDTINY_SOAK_TABLE=docs/results/soak.csv $(BIN)/pytest -m deploy -rP tests/test_deploy_soak.py $(ARGS)

.PHONY: fuzz
fuzz: $(INSTALLED)  ## every reader of files on 20,000 damaged ones
	FEDTINY_FUZZ_INPUTS=20000 $(BIN)/pytest -n $(JOBS) tests/test_malformed_files.py $(ARGS)

.PHONY: check
check: $(INSTALLED)  ## lint, format, types, direction of imports
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: docs
docs: $(INSTALLED)  ## API pages from the docstrings, in build/docs
	$(BIN)/pdoc --docformat google -o build/docs fedtiny clients strategies sims

.PHONY: architecture
architecture: $(INSTALLED)  ## draw docs/architecture.svg anew, from the imports
	$(BIN)/python docs/rooms.py

.PHONY: ops
ops: $(INSTALLED)  ## ask every pass about every op: rewrite docs/ops.md
	$(BIN)/python -m fedtiny.doctor.ops docs/ops.md

.PHONY: results
results: $(INSTALLED)  ## repeat the runs of docs/results/results.md (seeds 0-2) and rewrite its table
	$(BIN)/python -m sims.study.results $(ARGS)

PLOT_STUDY = $(BIN)/python -m sims.study.plot --study results/study.csv --tuning results/tuning.csv \
  --page docs/results/study.md

.PHONY: study
study: $(INSTALLED)  ## every method at every density (smart-watch): what results/study.csv lacks
	$(BIN)/python -m sims.study.sweep sims/configs/study.toml $(ARGS)
	$(BIN)/python -m sims.study.sweep sims/configs/study_seeds_watch.toml $(ARGS)
	$(PLOT_STUDY)

# Where a sweep is begun with "-", runs of it diverge: it tries them again, says so, and the next goes on.
.PHONY: study-fashion
study-fashion: $(INSTALLED)  ## the same on Fashion-MNIST (apt install dataset-fashion-mnist)
	-$(BIN)/python -m sims.study.sweep sims/configs/study_fashion_mnist.toml $(ARGS)
	-$(BIN)/python -m sims.study.sweep sims/configs/study_seeds_fashion_mnist.toml $(ARGS)
	-$(BIN)/python -m sims.study.sweep sims/configs/study_parts.toml $(ARGS)
	$(PLOT_STUDY)

.PHONY: study-fleet
study-fleet: $(INSTALLED)  ## who trains which part of the model on unequal devices: what docs/results/fleet.csv lacks
	$(BIN)/python -m sims.study.sweep sims/configs/study_fleet_fashion_mnist.toml $(ARGS)
	$(BIN)/python -m sims.study.sweep sims/configs/study_fleet_larger.toml $(ARGS)
	$(BIN)/python -m sims.study.sweep sims/configs/study_fleet_watch.toml $(ARGS)
	$(BIN)/python -m sims.study.sweep sims/configs/study_fleet_watch_longer.toml $(ARGS)
	$(BIN)/python -m sims.study.sweep sims/configs/study_fleet_watch_tags.toml $(ARGS)
	$(BIN)/python -m sims.study.fleet

.PHONY: study-shapes
study-shapes: $(INSTALLED)  ## does it pay to let devices choose the network's shape: what docs/results/shapes.csv lacks
	$(BIN)/python -m sims.study.sweep sims/configs/study_shapes_watch.toml $(ARGS)
	$(BIN)/python -m sims.study.sweep sims/configs/study_shapes_fashion_mnist.toml $(ARGS)
	$(BIN)/python -m sims.study.plot --study docs/results/shapes.csv --page docs/results/shapes.md \
	  --out build/shapes

.PHONY: study-wins
study-wins: $(INSTALLED)  ## what the network's shape is worth in a longer run: what docs/results/wins.csv lacks
	-$(BIN)/python -m sims.study.sweep sims/configs/study_wins_fashion_mnist.toml $(ARGS)
	-$(BIN)/python -m sims.study.sweep sims/configs/study_wins_seeds.toml $(ARGS)
	-$(BIN)/python -m sims.study.sweep sims/configs/study_wins_lower.toml $(ARGS)
	$(BIN)/python -m sims.study.plot --study docs/results/wins.csv --page docs/results/wins.md \
	  --out build/wins

.PHONY: study-growth
study-growth: $(INSTALLED)  ## does moving weights pay inside of a shape that suits the bytes: what docs/results/growth.csv lacks
	$(BIN)/python -m sims.study.sweep sims/configs/study_growth.toml $(ARGS)
	$(BIN)/python -m sims.study.plot --study docs/results/growth.csv --page docs/results/growth.md \
	  --out build/growth

.PHONY: study-bits
study-bits: $(INSTALLED)  ## what do activations of 16 bits cost in accuracy: what docs/results/activation_bits.csv lacks
	-$(BIN)/python -m sims.study.sweep sims/configs/study_bits_watch.toml $(ARGS)
	-$(BIN)/python -m sims.study.sweep sims/configs/study_bits_fashion_mnist.toml $(ARGS)
	$(BIN)/python -m sims.study.plot --study docs/results/activation_bits.csv \
	  --page docs/results/activation_bits.md --out build/activation_bits

.PHONY: study-gpu
study-gpu: $(INSTALLED)  ## ResNet-18 at 1 % on a GPU, as many rounds as 25 minutes allow: docs/results/gpu.csv
	$(BIN)/python -m sims.study.gpu $(ARGS)

CAMERA = runs/camera

.PHONY: camera
camera: $(INSTALLED)  ## a sensor that pools, a detector, a federated classifier: what docs/results/hirise.csv lacks
	test -f $(CAMERA)/model.safetensors || \
	  $(BIN)/python -m sims.launch --config sims/configs/camera.toml --backend inline
	$(BIN)/python -m sims.camera.study $(CAMERA) $(ARGS)
	$(BIN)/python -m sims.camera.page $(CAMERA)
	$(BIN)/python -m sims.camera.firmware $(CAMERA)

.PHONY: data-fonts
data-fonts: $(INSTALLED)  ## letters of 220 font families, a client each: build/glyphs.npz (Debian; 4 minutes)
	$(BIN)/python -m sims.glyphs fetch
	$(BIN)/python -m sims.glyphs make $(ARGS)

.PHONY: study-codecs
study-codecs: $(INSTALLED)  ## pictures sent as a few bytes, Fashion-MNIST: what docs/results/codecs.csv lacks
	$(BIN)/python -m sims.study.codecs $(ARGS)

ADAPT_RUN = $(BIN)/python -m sims.launch --backend inline --set dense_reference=false \
  --set export.enabled=false --out build/adapt
.PHONY: study-adapt
study-adapt: $(INSTALLED)  ## ten ways to learn a user that the model never saw: what docs/results/adapt.csv lacks
	for seed in 0 1 2; do \
	  for person in 1 2 3 4 5 6 7 8 9 10; do \
	    test -f build/adapt/person-$$person-$$seed/model.safetensors || \
	    $(ADAPT_RUN) --config sims/configs/demo.toml --set data.partitions=9 \
	      --set "data.unseen_people=[$$person]" --set seed=$$seed \
	      --set name=person-$$person-$$seed || exit 1; \
	  done; \
	  test -f build/adapt/images-$$seed/model.safetensors || \
	  $(ADAPT_RUN) --config sims/configs/fashion_mnist.toml --set data.limit=10000 \
	    --set federation.evaluate_every=30 --set seed=$$seed --set name=images-$$seed || exit 1; \
	done
	$(BIN)/python -m sims.study.adapt build/adapt/person-* build/adapt/images-*

.PHONY: bench
bench: $(INSTALLED)  ## training steps against PyTorch's: rewrite docs/results/training.md (8 minutes)
	$(BIN)/python -m fedtiny.bench.table $(ARGS)

.PHONY: bench-neon
bench-neon: $(INSTALLED)  ## instructions of a training step on AArch64, emulated: docs/results/training.md (3 minutes)
	$(BIN)/python -m fedtiny.bench.neon $(ARGS)

.PHONY: bench-peers
bench-peers: $(INSTALLED)  ## training steps beside SparseProp, SparseLab and others: rewrite docs/results/peers.md
	$(BIN)/pip install -e '.[peers]' -c constraints.txt
	$(BIN)/python -m sims.bench.peers $(ARGS)

.PHONY: bench-firmware
bench-firmware: $(INSTALLED)  ## instructions against CMSIS-NN's, emulated: rewrite docs/results/firmware.md (15 minutes)
	$(BIN)/python -m fedtiny.bench.firmware_table $(ARGS)

.PHONY: bench-bits
bench-bits: $(INSTALLED)  ## sparse weights of 4 bits: accuracy of three runs of the demo, flash: rewrite docs/results/firmware.md
	for seed in 0 1 2; do \
	  test -f build/bits/demo-$$seed/model.safetensors || \
	  $(BIN)/python -m sims.launch --backend inline --config sims/configs/demo.toml \
	    --set dense_reference=false --set export.enabled=false --out build/bits \
	    --set seed=$$seed --set name=demo-$$seed || exit 1; \
	done
	$(BIN)/python -m sims.study.weight_bits build/bits/demo-* $(ARGS)

.PHONY: bench-images
bench-images: $(INSTALLED)  ## bytes of whole programs, linked: rewrite docs/results/images.md
	$(BIN)/python -m fedtiny.bench.images $(ARGS)

.PHONY: bench-import
bench-import: $(INSTALLED)  ## MLPerf Tiny's networks from .tflite, emulated: rewrite docs/results/import.md (5 minutes)
	$(BIN)/python -m fedtiny.bench.import_table $(ARGS)

.PHONY: clean
clean:  ## delete caches and build products; keeps .venv and runs/
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find clients fedtiny sims strategies tests -name __pycache__ -prune -exec rm -rf {} +
