"""Exported models on emulated Cortex-M boards: every layer's bytes, and what they cost."""

import json
from functools import cache

import numpy as np
import pytest
from typer.testing import CliRunner

from fedtiny import toolchain
from fedtiny.bench import synthetic
from fedtiny.bench.firmware import bench_firmware
from fedtiny.boards import emulated, kernels, plan_run, qemu
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.boards.image import image_sizes
from fedtiny.boards.verify import verify_targets
from fedtiny.cli import app
from fedtiny.errors import FedTinyError
from fedtiny.export import bundle
from fedtiny.firmware.cores import Core
from fedtiny.firmware.lower import dense, fastest, lower
from fedtiny.firmware.plan import Kernel
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import build
from fedtiny.toolchain import ToolchainError

MODELS = {
    "smartwatch_cnn": ((6, 1, 128), 7),
    "resnet8": ((1, 28, 28), 10),
    "ds_cnn": ((1, 49, 10), 12),
    "mobilenet_v1": ((3, 64, 64), 10),
    "vgg11": ((3, 32, 32), 10),
    "resnet18": ((3, 32, 32), 10),
}
MACHINES = {
    "qemu-m3": Core.M3,
    "qemu-m4": Core.M4,
    "qemu-m7": Core.M4,
    "qemu-m33": Core.M4,
    "qemu-m55": Core.M55,
}
GRID = [
    *((name, density) for name in ("smartwatch_cnn", "resnet8") for density in (1, 0.25, 0.1)),
    *((name, density) for name in ("smartwatch_cnn", "resnet8") for density in (0.05, 0.01)),
    *((name, 0.05) for name in ("ds_cnn", "mobilenet_v1", "vgg11", "resnet18")),
]


@cache
def model_and_vectors(name, density, weight_bits=8):
    model = synthetic.integer_model(build(name, *MODELS[name]), density, weight_bits=weight_bits)
    return model, vector_file(model, synthetic.counts(model, 1))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Kernels of each machine, compiled once."""

    @cache
    def of(machine, with_cmsis_nn=False):
        compile_kernels = (
            kernels.compile_with_cmsis_nn if with_cmsis_nn else kernels.compile_portable
        )
        return compile_kernels(qemu.machine(machine), tmp_path_factory.mktemp(machine))

    return of


def emulate(plan, machine, compiled_kernels, directory, vectors=None):
    if vectors is None:
        vectors = vector_file(plan.model, synthetic.counts(plan.model, 1))
    return plan_run.run(plan, qemu.machine(machine), compiled_kernels, vectors, directory)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    model, _ = model_and_vectors("smartwatch_cnn", 0.05)
    directory = tmp_path_factory.mktemp("project") / "firmware"
    bundle.export(lower(model), directory, synthetic.counts(model, 20), synthetic.interface(model))
    return directory


@pytest.mark.firmware
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "density"), GRID)
def test_every_byte_matches(name, density, machine, compiled, tmp_path):
    model, vectors = model_and_vectors(name, density)
    plan = lower(model, core=MACHINES[machine])
    result = emulate(plan, machine, compiled(machine), tmp_path, vectors)
    assert (result.vectors, result.mismatches) == (1, 0)
    assert all(layer.instructions > 0 for layer in result.layers)


def choose(kernel, weight_format):
    def policy(steps):
        streams = [s for s in steps if s.streams and s.streams.format is weight_format]
        return next((s for s in streams if s.kernel is kernel), (streams or steps)[0])

    return policy


@pytest.mark.firmware
@pytest.mark.parametrize("machine", ["qemu-m4", "qemu-m55"])
@pytest.mark.parametrize("kernel", [Kernel.SPARSE_CONV, Kernel.SPARSE_CONV_PLANAR])
@pytest.mark.parametrize("scratch", [4096, 65536])
def test_every_kernel_and_format_matches(machine, kernel, scratch, compiled, tmp_path):
    core = MACHINES[machine]
    for name in ("resnet8", "ds_cnn"):
        for weight_format in WeightFormat:
            bits = 4 if weight_format.has_nibbles else 8
            model, vectors = model_and_vectors(name, 0.25, bits)
            plan = lower(model, choose(kernel, weight_format), scratch, core)
            directory = tmp_path / f"{name}-{weight_format.name}"
            assert emulate(plan, machine, compiled(machine), directory, vectors).mismatches == 0


@pytest.mark.firmware
@pytest.mark.parametrize("machine", ["qemu-m4", "qemu-m55"])
@pytest.mark.parametrize("name", ["resnet8", "smartwatch_cnn"])
def test_weights_of_4_bits_take_less_flash_and_hardly_more_instructions(
    name, machine, compiled, tmp_path
):
    plans, executed = {}, {}
    for bits in (8, 4):
        model, vectors = model_and_vectors(name, 0.05, bits)
        plans[bits] = lower(model, core=MACHINES[machine])
        result = emulate(plans[bits], machine, compiled(machine), tmp_path / f"{bits}", vectors)
        assert result.mismatches == 0
        executed[bits] = result.instructions
    assert plans[4].flash_bytes < 0.85 * plans[8].flash_bytes
    assert executed[4] < 1.02 * executed[8]


@pytest.mark.firmware
@pytest.mark.parametrize(
    ("machine", "policy"),
    [
        *(("qemu-m3", policy) for policy in (fastest, dense)),
        *(("qemu-m4", policy) for policy in (fastest, dense)),
        ("qemu-m55", fastest),  # dense there: of later releases, which are no dependency
    ],
)
def test_predicted_instructions_are_close_to_those_executed(machine, policy, compiled, tmp_path):
    for name in ("resnet8", "smartwatch_cnn", "ds_cnn"):
        model, vectors = model_and_vectors(name, 0.05)
        plan = lower(model, policy, core=MACHINES[machine])
        result = emulate(plan, machine, compiled(machine, True), tmp_path / name, vectors)
        assert result.mismatches == 0
        executed = np.array([layer.instructions for layer in result.layers])
        predicted = np.array([step.instructions for step in plan.steps])
        assert abs(predicted.sum() / executed.sum() - 1) < 0.15
        large = executed > 0.03 * executed.sum()
        np.testing.assert_allclose(predicted[large], executed[large], rtol=0.35)


@pytest.mark.firmware
@pytest.mark.parametrize(
    ("name", "core", "density", "ratio", "cycle_ratio"),
    [
        ("resnet8", "m4", 0.05, 9.8, 8),
        ("smartwatch_cnn", "m4", 0.05, 8, 6.1),
        ("resnet8", "m55", 0.05, 8, None),
        ("resnet8", "m55", 1.0, 0.99, None),
    ],
)
def test_instructions_and_cycles_against_cmsis_nn_dense(name, core, density, ratio, cycle_ratio):
    timing = CortexM4()
    result = bench_firmware(build(name, *MODELS[name]), density, core, timing=timing)
    total = result.total
    assert total.mismatches == 0
    assert total.ratio >= ratio
    if cycle_ratio is None:
        assert (total.cycles, total.cycle_ratio, result.timing) == (None, None, None)
    else:
        assert total.cycle_ratio >= cycle_ratio
        assert result.timing == str(timing)
        for which, cycles in total.cycles.items():
            assert total.instructions[which] < cycles < 2 * total.instructions[which]
            assert sum(layer.cycles[which] for layer in result.layers) < cycles  # and the input's
    if core == "m4":
        assert result.peer.mismatches == 0
        assert result.peer.instructions >= ratio * result.total.instructions["ours"]


@pytest.mark.firmware
@pytest.mark.parametrize(
    ("core", "density", "ratio", "flash_ratio"),
    [("m4", 0.1, 12, 4.9), ("m4", 0.05, 20, 9.5), ("m4", 0.01, 50, 35)],
)
def test_resnet18_convolutions_against_cmsis_nn_dense(core, density, ratio, flash_ratio):
    graph = build("resnet18", (3, 32, 32), 10)
    total = bench_firmware(graph, density, core, convs_only=True).total
    assert total.mismatches == 0
    assert total.ratio >= ratio
    assert total.flash_ratio >= flash_ratio
    assert total.scratch_bytes <= 64 * 1024


@pytest.mark.firmware
def test_verify_prints_what_the_issue_of_a_release_needs(project):
    command = [
        "verify",
        str(project),
        "--target",
        "host,qemu-m0,qemu-m4",
        "--vectors",
        "3",
        "--json",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    targets = json.loads(done.output)["targets"]
    assert {name: t["vectors"] for name, t in targets.items()} == {
        "host": 20,
        "qemu-m0": 3,
        "qemu-m4": 3,
    }
    assert all(target["mismatches"] == 0 for target in targets.values())
    board = targets["qemu-m4"]
    assert board["instructions"] > sum(layer["instructions"] for layer in board["layers"]) > 0
    assert 0 < board["stack_bytes"] < 4096
    assert 4096 < board["sizes"]["code_bytes"] < 32 * 1024
    assert board["image"]["code_bytes"] <= board["sizes"]["code_bytes"]
    symbols = {symbol["name"]: symbol["nbytes"] for symbol in board["symbols"]}
    manifest = json.loads((project / "manifest.json").read_text(encoding="utf-8"))
    assert symbols["arena"] == manifest["sizes"]["arena_bytes"]
    assert symbols["model_conv2_bias"] == 4 * 64


@pytest.mark.firmware
def test_counts_are_repeatable(project):
    first, second = (emulated.verify(project, "qemu-m4", 2) for _ in range(2))
    assert first.layers == second.layers


@pytest.mark.firmware
def test_one_wrong_byte_is_found_on_the_board(project, tmp_path):
    import shutil

    broken = tmp_path / "firmware"
    shutil.copytree(project, broken)
    content = bytearray((broken / "vectors.bin").read_bytes())
    content[-1] ^= 1
    (broken / "vectors.bin").write_bytes(content)
    assert emulated.verify(broken, "qemu-m4", 20).mismatches == 1
    assert emulated.verify(broken, "qemu-m4", 19).mismatches == 0


def test_missing_toolchain_names_its_install_line(project, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"apt-get install .*gcc-arm-none-eabi"):
        verify_targets(project, ["qemu-m4"], 1)


def test_unknown_target_is_refused_before_anything_is_built(project):
    with pytest.raises(FedTinyError, match="unknown target 'qemu-m99'; choose from host, qemu-m0"):
        verify_targets(project, ["host", "qemu-m99"], 1)


def test_directory_without_a_project_is_refused(tmp_path):
    with pytest.raises(FedTinyError, match="fedtiny export"):
        emulated.verify(tmp_path, "qemu-m4")


@pytest.mark.firmware
@pytest.mark.parametrize("machine", ["qemu-m4", "qemu-m55"])
def test_the_whole_image_is_as_large_as_binutils_says(machine, project, compiled, tmp_path):
    target = qemu.machine(machine)
    sizes = image_sizes(target, project, tmp_path, kernels=compiled(machine))
    done = toolchain.run_tool(["arm-none-eabi-size", "program.elf"], tmp_path, 60)
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    assert (sizes.text_bytes, sizes.data_bytes, sizes.bss_bytes) == (text, data, bss)
    manifest = json.loads((project / "manifest.json").read_text(encoding="utf-8"))
    assert sizes.bss_bytes > manifest["sizes"]["arena_bytes"]
    assert sizes.text_bytes > manifest["sizes"]["flash_bytes"] + 4096


@pytest.mark.parametrize("target", ["host", "qemu-m4"])
def test_a_runs_folder_is_no_project_but_has_one(target, project, tmp_path):
    (tmp_path / "firmware").symlink_to(project)
    with pytest.raises(FedTinyError, match=r"holds no exported model; did you mean .*/firmware\?"):
        verify_targets(tmp_path, [target], 1)
    with pytest.raises(FedTinyError, match="holds no exported model; write one: fedtiny export"):
        verify_targets(tmp_path / "nowhere", [target], 1)
