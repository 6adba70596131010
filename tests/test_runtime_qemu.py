"""The kernels on emulated Cortex-M cores, where assembly and vectors replace the portable C."""

import importlib.util
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from builders import fitting

from fedtiny import toolchain
from fedtiny.boards import layer_bench, qemu
from fedtiny.boards.native.kernels import Kernels
from fedtiny.boards.native.library import RUNTIME, STRICT_FLAGS, compile_runtime
from fedtiny.boards.native.types import Rescale, Window
from fedtiny.firmware import workspace
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import best_format, weight_streams
from fedtiny.quant.requantize import normalized

TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
pytestmark = [
    pytest.mark.firmware,
    pytest.mark.skipif(
        not all(map(shutil.which, TOOLS)), reason=f"needs {' and '.join(TOOLS)}: make firmware-test"
    ),
]
machines = pytest.mark.parametrize("name", list(qemu.MACHINES))
distinct_kernels = pytest.mark.parametrize("name", ["qemu-m0", "qemu-m4", "qemu-m55"])

# (input H, W, C), outputs, kernel, stride, padding: each reaches another path of the kernels.
LAYERS = {
    "wide": ((9, 32, 8), 6, (3, 3), (1, 1), (1, 1)),
    "odd width": ((5, 19, 5), 4, (3, 3), (1, 1), (1, 1)),
    "odd width, stride 2": ((11, 27, 4), 5, (3, 3), (2, 2), (1, 1)),
    "width 8": ((8, 8, 16), 8, (3, 3), (1, 1), (1, 1)),
    "width 9": ((7, 9, 3), 4, (3, 3), (1, 1), (1, 1)),
    "width 7, rows in pairs": ((7, 7, 12), 7, (3, 3), (1, 1), (1, 1)),
    "width 4": ((4, 4, 64), 9, (3, 3), (1, 1), (1, 1)),
    "width 3": ((5, 3, 7), 4, (3, 3), (1, 1), (1, 1)),
    "one pixel": ((1, 1, 40), 6, (1, 1), (1, 1), (0, 0)),
    "1-D": ((1, 50, 9), 8, (1, 5), (1, 1), (0, 2)),
    "1-D, stride 2": ((1, 33, 9), 8, (1, 3), (1, 2), (0, 1)),
    "pointwise": ((6, 6, 24), 10, (1, 1), (1, 1), (0, 0)),
    "pointwise, stride 2": ((12, 12, 10), 6, (1, 1), (2, 2), (0, 0)),
    "5x5, stride 3": ((14, 40, 3), 4, (5, 5), (3, 3), (2, 2)),
}


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    return Kernels(compile_runtime(tmp_path_factory.mktemp("runtime")))


@pytest.fixture(scope="session")
def cmsis_nn():
    """CMSIS-NN's directory, or None: our own dense kernels then stand in."""
    spec = importlib.util.find_spec("bakenn")
    return spec and Path(spec.origin).parent / "backend/cmsis_nn/vendor/cmsis_nn"


@pytest.fixture(scope="session")
def program(tmp_path_factory, cmsis_nn):
    """The layer benchmark for a machine, built once."""
    built = {}

    def build(target):
        if target.name not in built:
            directory = tmp_path_factory.mktemp(target.name)
            built[target.name] = layer_bench.build(target, directory, cmsis_nn)
        return built[target.name]

    return build


def make_case(kernels, layer, density, weight_format=None, seed=3, shifted=False):
    (height, width, channels), outputs, kernel, stride, padding = layer
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (height, width, channels)).astype(np.int8)
    values = rng.integers(-127, 128, (outputs, *kernel, channels))
    weights = np.where(rng.random(values.shape) < density, values, 0).astype(np.int8)
    if weight_format is not None:
        weights = fitting(weights, weight_format)
    rows = weights.reshape(outputs, -1)
    streams = weight_streams(rows, best_format(rows) if weight_format is None else weight_format)
    spread = 80 * np.sqrt(np.square(rows.astype(float)).sum(axis=1) + 1)
    multiplier, shift = np.rint(50 / spread * 2**31).astype(np.int32), None
    if shifted:
        multiplier, shift = normalized(50 / spread)
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    window, rescale = Window(kernel, stride, padding), Rescale(multiplier, shift, 101, -17)
    return layer_bench.LayerCase(
        x=x,
        weights=weights,
        streams=streams,
        bias=bias,
        multiplier=multiplier,
        stride=stride,
        padding=padding,
        input_offset=rescale.input_offset,
        output_offset=rescale.output_offset,
        expected=kernels.sparse_conv(x, streams, bias, window, rescale),
        shift=shift,
    )


@pytest.mark.parametrize("name", ["qemu-m3", "qemu-m4", "qemu-m7", "qemu-m33", "qemu-m55"])
def test_ticks_count_instructions(name, tmp_path):
    """800 million instructions, across a wrap of the 24-bit counter."""
    target = qemu.machine(name)
    program = qemu.build(target, [Path(__file__).parent / "qemu_ticks.c"], tmp_path)
    ticks = int(qemu.run(target, program, tmp_path))
    assert ticks * target.tick_ns == pytest.approx(800e6, rel=1e-4)


@machines
def test_every_kernel_is_bit_exact(name, kernels, program, tmp_path):
    target = qemu.machine(name)
    ways = ((0.05, False), (1.0, True))
    for layer, (density, shifted) in product(LAYERS.values(), ways):
        case = make_case(kernels, layer, density, shifted=shifted)
        counts = layer_bench.measure(target, program(target), case, tmp_path)
        for kernel in (counts.dense, counts.direct, counts.planar):
            assert (kernel.status, kernel.mismatches) == (0, 0), (layer, density)


@distinct_kernels
@pytest.mark.parametrize("weight_format", list(WeightFormat))
def test_bands_and_formats_change_nothing(name, weight_format, kernels, program, tmp_path):
    target = qemu.machine(name)
    for label in ("wide", "odd width, stride 2", "width 7, rows in pairs", "width 4"):
        (shape, _, kernel, stride, padding) = LAYERS[label]
        case = make_case(kernels, LAYERS[label], 0.2, weight_format)
        sizes = workspace.ConvShape(
            shape, case.expected.shape, kernel, stride, padding, case.streams.max_nonzeros
        )
        limit = max(workspace.direct_bytes(sizes, 2), workspace.planar_bytes(sizes, 2))
        limit += 24  # more than two rows need, less than three
        bands = replace(case, scratch_bytes=limit)
        counts = layer_bench.measure(target, program(target), bands, tmp_path)
        for kernel in (counts.direct, counts.planar):
            assert (kernel.status, kernel.mismatches) == (0, 0), label
            assert kernel.scratch_bytes <= limit


@pytest.mark.parametrize("name", ["qemu-m4", "qemu-m33"])
def test_planar_sweep_takes_any_number_of_weights(name, kernels, program, tmp_path):
    """Its loop applies eight: it is entered in the middle, or not at all."""
    target = qemu.machine(name)
    case = make_case(kernels, ((5, 11, 4), 26, (3, 3), (1, 1), (1, 1)), 1.0)
    weights = case.weights.copy()
    for count, channel in enumerate(weights):
        channel.reshape(-1)[count:] = 0
    assert np.count_nonzero(weights, axis=(1, 2, 3)).max() > 20
    streams = weight_streams(weights.reshape(len(weights), -1), WeightFormat.D8)
    rescale = Rescale(case.multiplier, None, case.input_offset, case.output_offset)
    window = Window((3, 3), case.stride, case.padding)
    expected = kernels.sparse_conv(case.x, streams, case.bias, window, rescale)
    few = replace(case, weights=weights, streams=streams, expected=expected)
    counts = layer_bench.measure(target, program(target), few, tmp_path)
    assert (counts.planar.status, counts.planar.mismatches) == (0, 0)


@pytest.mark.parametrize("name", ["qemu-m4", "qemu-m55"])
def test_additions_with_shifts_are_exact(name, tmp_path):
    target = qemu.machine(name)
    sources = [Path(__file__).parent / "add_cases.c", RUNTIME / "src/fedtiny_elementwise_add_s8.c"]
    include = (RUNTIME / "include", RUNTIME / "src")
    program = qemu.build(target, sources, tmp_path, include=include, flags=("-std=gnu99",))
    assert qemu.run(target, program, tmp_path).strip() == "0"


DEEP = ((6, 9, 40), 7, (3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize("weight_format", list(WeightFormat))
def test_gathered_blocks_are_exact_however_many_there_are(
    weight_format, kernels, program, tmp_path
):
    """None, one to three that stay in registers, more; distances that D8 and N4 must bridge."""
    target = qemu.machine("qemu-m55")
    for density, shifted in ((0.004, False), (0.03, False), (0.06, True), (0.15, False)):
        case = make_case(kernels, DEEP, density, weight_format, shifted=shifted)
        direct = layer_bench.measure(target, program(target), case, tmp_path).direct
        assert (direct.status, direct.mismatches) == (0, 0), density


@pytest.mark.parametrize("weight_format", list(WeightFormat))
def test_broken_streams_are_refused_by_every_decoder_of_an_m55(
    weight_format, kernels, program, tmp_path
):
    target = qemu.machine("qemu-m55")
    case = make_case(kernels, DEEP, 0.15, weight_format)
    stream = case.streams.stream
    broken = [stream[:-1], stream[: len(stream) // 2], b""]
    if weight_format is WeightFormat.D8:  # distances beyond the last weight
        broken.append(b"".join(b"\xff" + stream[i + 1 : i + 2] for i in range(0, len(stream), 2)))
    if weight_format in (WeightFormat.N4, WeightFormat.P4):
        broken.append(b"\xee" * len(stream))
    for bytes_left in broken:
        wrong = replace(case, streams=replace(case.streams, stream=bytes_left))
        counts = layer_bench.measure(target, program(target), wrong, tmp_path)
        assert (counts.direct.status, counts.planar.status) == (1, 1)


@pytest.mark.parametrize(
    ("name", "layer", "density", "ratio"),
    [
        ("qemu-m4", ((16, 16, 32), 32, (3, 3), (1, 1), (1, 1)), 0.05, 16),
        ("qemu-m4", ((16, 16, 32), 32, (3, 3), (1, 1), (1, 1)), 0.01, 30),
        ("qemu-m4", ((1, 64, 32), 48, (1, 5), (1, 1), (0, 2)), 0.05, 10),
        ("qemu-m3", ((16, 16, 32), 32, (3, 3), (1, 1), (1, 1)), 0.05, 6),
        ("qemu-m55", ((16, 16, 32), 32, (3, 3), (1, 1), (1, 1)), 0.05, 12),
        ("qemu-m55", ((4, 4, 128), 64, (3, 3), (1, 1), (1, 1)), 0.05, 9),
    ],
)
def test_sparse_executes_fewer_instructions_than_cmsis_nn(
    name, layer, density, ratio, kernels, program, cmsis_nn, tmp_path
):
    if cmsis_nn is None:
        pytest.skip("needs CMSIS-NN's sources: pip install --no-deps bakenn==1.0.0")
    target = qemu.machine(name)
    case = make_case(kernels, layer, density)
    counts = layer_bench.measure(target, program(target), case, tmp_path)
    ours = min(counts.direct.instructions, counts.planar.instructions)
    assert counts.dense.instructions / ours >= ratio


def test_fault_is_reported_not_hung(tmp_path):
    (tmp_path / "fault.c").write_text(
        '#include "board.h"\n'
        "int main(void) { return *(volatile int *)0xE0100000 + *(volatile int *)0x70000001; }\n",
        encoding="utf-8",
    )
    target = qemu.machine("qemu-m3")
    program = qemu.build(target, [tmp_path / "fault.c"], tmp_path)
    with pytest.raises(toolchain.ToolchainError, match="FAULT"):
        qemu.run(target, program, tmp_path, timeout_s=20)


@pytest.mark.parametrize("core", list(qemu.MACHINES))
def test_sources_compile_without_warnings_for_every_core(core, tmp_path):
    target = qemu.machine(core)
    (tmp_path / "main.c").write_text(
        "int main(void);\nint main(void) { return 0; }\n", encoding="utf-8"
    )
    sources = [tmp_path / "main.c", *sorted((RUNTIME / "src").rglob("*.[cS]"))]
    flags = [flag for flag in STRICT_FLAGS if flag != "-pedantic"]  # inline assembly
    (tmp_path / "objects").mkdir()
    command = ["arm-none-eabi-gcc", "-mthumb", *target.flags, "-O3", *flags, "-c"]
    include = [f"-I{RUNTIME / 'include'}"]
    toolchain.run_tool([*command, *include, *map(str, sources)], tmp_path / "objects", 120)
