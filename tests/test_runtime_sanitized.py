"""The sparse kernels under ASan and UBSan, on valid and on corrupt weight streams."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from builders import fitting

from fedtiny import toolchain
from fedtiny.boards.native.kernels import Kernels
from fedtiny.boards.native.library import RUNTIME, STRICT_FLAGS, compile_runtime
from fedtiny.boards.native.types import Rescale, Window
from fedtiny.firmware import workspace
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import WeightStreams, weight_streams

FUNCTIONS = ("direct", "planar", "depthwise", "linear")


@dataclass(frozen=True)
class Case:
    function: str
    x: np.ndarray
    streams: WeightStreams
    window: Window
    bias: np.ndarray
    multiplier: np.ndarray
    scratch_bytes: int

    @property
    def output_shape(self):
        channels = len(self.streams.entries)
        if self.function == "linear":
            return (1, 1, channels)
        sizes = zip(
            self.x.shape, self.window.padding, self.window.kernel, self.window.stride, strict=False
        )
        return (*((n + 2 * p - k) // s + 1 for n, p, k, s in sizes), channels)

    def to_bytes(self):
        channels, (height, width, inner) = len(self.streams.entries), self.x.shape
        filter_dims = (channels, *self.window.kernel, inner)
        input_dims = (1, height, width, inner)
        if self.function == "depthwise":
            filter_dims = (1, *self.window.kernel, channels)
        if self.function == "linear":
            filter_dims = (self.x.size, 1, 1, channels)
        header = [
            FUNCTIONS.index(self.function),
            *(*input_dims, *filter_dims, 1, *self.output_shape),
            *(*self.window.stride, *self.window.padding),
            *(11, -3, channels // inner),
            *(self.streams.format, self.streams.max_nonzeros, len(self.streams.stream)),
            self.scratch_bytes,
        ]
        arrays = (self.x, self.streams.entries, self.streams.stream, self.bias, self.multiplier)
        return np.array(header, np.int32).tobytes() + b"".join(map(bytes, arrays))


def make_case(function, weight_format, band_rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (7, int(rng.choice([5, 11])), 6)).astype(np.int8)
    window, outputs, weights = Window((3, 3), (1, 2), (1, 1)), 6, 54
    if function == "depthwise":
        weights = 9
    if function == "linear":
        window, weights = Window((1, 1)), x.size
    density = rng.choice([0.01, 0.1, 0.5, 1.0])
    values = rng.integers(-127, 128, (outputs, weights))
    matrix = np.where(rng.random(values.shape) < density, values, 0).astype(np.int8)
    matrix = fitting(matrix, weight_format)
    case = Case(
        function=function,
        x=x,
        streams=weight_streams(matrix, weight_format),
        window=window,
        bias=rng.integers(-900, 900, outputs).astype(np.int32),
        multiplier=rng.integers(2**18, 2**24, outputs).astype(np.int32),
        scratch_bytes=0,
    )
    if function == "linear":
        return case
    shape = workspace.ConvShape(
        x.shape,
        case.output_shape,
        window.kernel,
        window.stride,
        window.padding,
        case.streams.max_nonzeros,
    )
    measure = workspace.planar_bytes if function == "planar" else workspace.direct_bytes
    return replace(case, scratch_bytes=measure(shape, band_rows))


def corrupted(case, rng):
    """The case with bytes, counts or lengths of its stream changed."""
    stream = bytearray(case.streams.stream)
    entries = case.streams.entries.copy()
    max_nonzeros = case.streams.max_nonzeros
    match rng.integers(4):
        case 0:
            for position in rng.integers(0, max(len(stream), 1), 1 + len(stream) // 8):
                stream[position : position + 1] = bytes(
                    [rng.choice([0, 1, 15, 255, rng.integers(256)])]
                )
        case 1:
            del stream[int(rng.integers(0, len(stream) + 1)) :]
        case 2:
            entries[rng.integers(len(entries))] = rng.choice([0, 1, 200, 65535])
        case 3:
            max_nonzeros = int(rng.integers(0, max_nonzeros + 1))
    shrink = 8 * (case.streams.max_nonzeros - max_nonzeros)
    streams = replace(
        case.streams, stream=bytes(stream), entries=entries, max_nonzeros=max_nonzeros
    )
    # Shorter lists come with exactly the scratch they declare.
    return replace(case, streams=streams, scratch_bytes=max(0, case.scratch_bytes - shrink))


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sanitized")
    program = directory / "runtime_cases"
    sources = [*sorted((RUNTIME / "src").rglob("*.c")), Path(__file__).parent / "runtime_cases.c"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *STRICT_FLAGS, "-O1", "-g", *sanitizers, f"-I{RUNTIME / 'include'}"]
    toolchain.run_tool([*command, *map(str, sources), "-lm", "-o", str(program)], directory, 120)
    return program


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return Kernels(compile_runtime(tmp_path_factory.mktemp("plain")))


def run(program, cases, directory):
    """(status, output) of each case; a sanitizer's report fails the run."""
    (directory / "cases").write_bytes(b"".join(case.to_bytes() for case in cases))
    toolchain.run_tool([str(program), "cases", "results"], directory, 120)
    data, results = (directory / "results").read_bytes(), []
    for case in cases:
        size = int(np.prod(case.output_shape))
        status = int(np.frombuffer(data[:4], np.int32)[0])
        output = np.frombuffer(data[4 : 4 + size], np.int8).reshape(case.output_shape)
        results.append((status, output))
        data = data[4 + size :]
    assert not data
    return results


def on_plain_build(kernels, case):
    rescale = Rescale(case.multiplier, None, 11, -3)
    if case.function == "linear":
        flat = case.x.reshape(1, -1)
        return kernels.sparse_linear(flat, case.streams, case.bias, rescale).reshape(1, 1, -1)
    call = kernels.sparse_depthwise if case.function == "depthwise" else kernels.sparse_conv
    extra = {"planar": True} if case.function == "planar" else {}
    return call(case.x, case.streams, case.bias, case.window, rescale, **extra)


def test_valid_streams_are_clean_and_equal_the_plain_build(sanitized, kernels, tmp_path):
    grid = product(FUNCTIONS, WeightFormat, (0, 1, 3), range(2))
    cases = [make_case(*choice) for choice in grid]
    for case, (status, output) in zip(cases, run(sanitized, cases, tmp_path), strict=True):
        assert status == 0
        np.testing.assert_array_equal(output, on_plain_build(kernels, case))


def test_corrupt_streams_are_never_read_or_written_beyond(sanitized, tmp_path):
    rng = np.random.default_rng(2)
    grid = product(FUNCTIONS, WeightFormat, (0, 1), range(40))
    cases = [corrupted(make_case(*choice), rng) for choice in grid]
    statuses = [status for status, _ in run(sanitized, cases, tmp_path)]
    assert set(statuses) == {0, -1}
    assert statuses.count(-1) > len(cases) / 4  # most damage is noticed, some only changes values
