"""The kernels against Arm's CMSIS-NN 4.0, compiled for this host from the wheel that carries it.

CMSIS-NN's plain C path is the oracle; its element-wise addition is not in that wheel.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fedtiny.boards.native.kernels import Kernels
from fedtiny.boards.native.library import compile_library, compile_runtime
from fedtiny.boards.native.types import Rescale, Window
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import weight_streams

SPEC = importlib.util.find_spec("bakenn")
pytestmark = pytest.mark.skipif(
    SPEC is None, reason="needs CMSIS-NN's sources: pip install --no-deps bakenn==1.0.0"
)

# (input H, W, C), outputs, kernel, stride, padding
CONVS = [
    ((16, 16, 16), 16, (3, 3), (1, 1), (1, 1)),
    ((9, 7, 5), 6, (3, 3), (2, 2), (1, 1)),
    ((8, 8, 32), 24, (1, 1), (1, 1), (0, 0)),
    ((8, 8, 12), 7, (1, 1), (2, 2), (0, 0)),
    ((1, 50, 6), 8, (1, 5), (1, 1), (0, 2)),
    ((1, 48, 8), 12, (1, 3), (2, 2), (0, 1)),
    ((1, 1, 64), 10, (1, 1), (1, 1), (0, 0)),
    ((4, 4, 64), 32, (3, 3), (1, 1), (1, 1)),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return Kernels(compile_runtime(tmp_path_factory.mktemp("runtime")))


@pytest.fixture(scope="module")
def cmsis_nn(tmp_path_factory):
    vendor = Path(SPEC.origin).parent / "backend/cmsis_nn/vendor/cmsis_nn"
    sources = sorted((vendor / "Source").rglob("*.c"))
    # __GNUC_PYTHON__ is the library's own switch for hosts that are no Arm.
    flags = ["-O2", "-w", "-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict", f"-I{vendor / 'Include'}"]
    return Kernels(
        compile_library(tmp_path_factory.mktemp("cmsis"), sources, flags, name="cmsis_nn")
    )


def random_layer(rng, fan_in, outputs, *, shifted):
    scale = rng.uniform(20, 90, outputs) / (5600 * np.sqrt(fan_in))
    fraction, exponent = np.frexp(scale)
    if shifted:
        multiplier, shift = np.rint(fraction * (2**31 - 1)), exponent
    else:
        multiplier, shift = np.rint(scale * 2**31), np.zeros(outputs)
    return rng.integers(-2000, 2000, outputs).astype(np.int32), Rescale(
        multiplier.astype(np.int32),
        shift.astype(np.int32),
        int(rng.integers(-127, 129)),
        int(rng.integers(-128, 128)),
    )


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("shape", "outputs", "kernel", "stride", "padding"), CONVS)
def test_convolutions_are_equal(
    kernels, cmsis_nn, shape, outputs, kernel, stride, padding, shifted
):
    rng = np.random.default_rng(7)
    x = rng.integers(-128, 128, shape).astype(np.int8)
    window = Window(kernel, stride, padding)
    fan_in = kernel[0] * kernel[1] * shape[2]
    bias, rescale = random_layer(rng, fan_in, outputs, shifted=shifted)
    weights = rng.integers(-127, 128, (outputs, *kernel, shape[2])).astype(np.int8)
    for density in (1.0, 0.1):
        kept = np.where(rng.random(weights.shape) < density, weights, 0).astype(np.int8)
        expected = cmsis_nn.conv(x, kept, bias, window, rescale)
        assert len(np.unique(expected)) > 5  # a saturated map would prove nothing
        streams = weight_streams(kept.reshape(outputs, -1), WeightFormat.D8)
        found = {
            "dense": kernels.conv(x, kept, bias, window, rescale),
            "direct": kernels.sparse_conv(x, streams, bias, window, rescale),
            "planar": kernels.sparse_conv(x, streams, bias, window, rescale, planar=True),
        }
        for output in found.values():
            np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("multiplier", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolutions_are_equal(kernels, cmsis_nn, multiplier, stride):
    rng = np.random.default_rng(8)
    x = rng.integers(-128, 128, (9, 11, 6)).astype(np.int8)
    outputs = 6 * multiplier
    bias, rescale = random_layer(rng, 9, outputs, shifted=False)
    window = Window((3, 3), (stride, stride), (1, 1))
    weights = rng.integers(-127, 128, (outputs, 9)).astype(np.int8)
    dense = np.ascontiguousarray(weights.T.reshape(1, 3, 3, outputs))
    expected = cmsis_nn.depthwise(x, dense, bias, window, rescale)
    np.testing.assert_array_equal(kernels.depthwise(x, dense, bias, window, rescale), expected)
    streams = weight_streams(weights, WeightFormat.N4)
    found = kernels.sparse_depthwise(x, streams, bias, window, rescale)
    np.testing.assert_array_equal(found, expected)


def test_fully_connected_layers_are_equal(kernels, cmsis_nn):
    rng = np.random.default_rng(9)
    x = rng.integers(-128, 128, (2, 130)).astype(np.int8)
    weights = rng.integers(-127, 128, (11, 130)).astype(np.int8)
    bias, rescale = random_layer(rng, 130, 11, shifted=False)
    same = Rescale(
        np.full(11, rescale.multiplier[0]), None, rescale.input_offset, rescale.output_offset
    )
    expected = cmsis_nn.linear(x, weights, bias, same)
    np.testing.assert_array_equal(kernels.linear(x, weights, bias, same), expected)
    streams = weight_streams(weights, WeightFormat.BITMAP)
    np.testing.assert_array_equal(kernels.sparse_linear(x, streams, bias, same), expected)


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
def test_pooling_is_equal(kernels, cmsis_nn, padding):
    x = np.random.default_rng(10).integers(-128, 128, (10, 9, 7)).astype(np.int8)
    window = Window((3, 2), (2, 2), padding)
    for clamp in ((-128, 127), (-20, 40)):
        expected = cmsis_nn.average_pool(x, window, clamp)
        np.testing.assert_array_equal(kernels.average_pool(x, window, clamp), expected)
        expected = cmsis_nn.max_pool(x, window, clamp)
        np.testing.assert_array_equal(kernels.max_pool(x, window, clamp), expected)
