"""What CMSIS-NN's kernels want of scratch, and the forms in which every release takes a layer.

The twins of 4.0 are compared with the real functions, compiled for this host (no extension) and,
with ``-m firmware``, for emulated cores with DSP instructions and with MVE. The rules of later
releases are written down as cases; no sources of theirs are at hand.
"""

from __future__ import annotations

import ctypes
import shutil
from ctypes import byref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.boards import cmsis_nn, kernels, qemu
from fedtiny.boards.native.kernels import Kernels
from fedtiny.boards.native.library import compile_library, compile_runtime
from fedtiny.boards.native.types import Dims, Rescale, Window, conv_params, depthwise_params
from fedtiny.errors import FedTinyError
from fedtiny.firmware.dense_form import dense_form
from fedtiny.firmware.dense_scratch import (
    Extension,
    Release,
    average_pool_bytes,
    avgpool_s8,
    conv_bytes,
    convolve_wrapper_s8,
    depthwise_bytes,
    depthwise_conv_wrapper_s8,
    takes_1_x_n,
)
from fedtiny.firmware.workspace import ConvShape

V40, V41, V60, V70 = Release
NONE, DSP, MVE = Extension


@st.composite
def shapes(draw, height=None):
    """Convolutions with PyTorch's output size; one row as often as a map."""
    rows = height or draw(st.sampled_from((1, 1, 3, 8, 15)))
    size = (rows, draw(st.integers(1, 40)))
    kernel = (draw(st.integers(1, 1 if rows == 1 else 5)), draw(st.integers(1, 7)))
    padding = (draw(st.integers(0, 0 if rows == 1 else 2)), draw(st.integers(0, 4)))
    kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(kernel, size, padding, strict=True))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    channels, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 8))
    steps = zip(size, padding, kernel, stride, strict=True)
    output = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in steps)
    return ConvShape((*size, channels), (*output, outputs), kernel, stride, padding, 0)


def as_depthwise(shape):
    channels = shape.input[2]
    return ConvShape(
        shape.input, (*shape.output[:2], channels), shape.kernel, shape.stride, shape.padding, 0
    )


def random_shapes(number, seed=4):
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < number:
        rows = int(rng.choice((1, 1, 4, 9)))
        size = (rows, int(rng.integers(1, 30)))
        kernel = (int(rng.integers(1, min(rows, 4) + 1)), int(rng.integers(1, 6)))
        padding = (0 if rows == 1 else int(rng.integers(0, 3)), int(rng.integers(0, 3)))
        stride = tuple(map(int, rng.integers(1, 4, 2)))
        if kernel[1] <= size[1] + 2 * padding[1]:
            steps = zip(size, padding, kernel, stride, strict=True)
            output = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in steps)
            channels, outputs = map(int, rng.integers(1, 150, 2))
            found.append(
                ConvShape((*size, channels), (*output, outputs), kernel, stride, padding, 0)
            )
    return found


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """CMSIS-NN 4.0 for this host."""
    try:
        wheel = cmsis_nn.wheel()
    except FedTinyError as missing:
        pytest.skip(str(missing))
    flags = ["-O1", "-w", "-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict", f"-I{wheel.include[0]}"]
    return ctypes.CDLL(str(compile_library(tmp_path_factory.mktemp("4.0"), wheel.sources, flags)))


def asked(library, shape):
    """(convolution, depthwise, pool) sizes that the library's functions answer."""
    rescale = Rescale(np.zeros(1, np.int32), None)
    window = Window(shape.kernel, shape.stride, shape.padding)
    channels, outputs = shape.input[2], shape.output[2]
    source, target = Dims(1, *shape.input), Dims(1, *shape.output)
    conv = library.arm_convolve_wrapper_s8_get_buffer_size(
        byref(conv_params(window, rescale)),
        *(byref(source), byref(Dims(outputs, *shape.kernel, channels)), byref(target)),
    )
    depthwise = library.arm_depthwise_conv_wrapper_s8_get_buffer_size(
        byref(depthwise_params(window, rescale, 1)),
        *(byref(source), byref(Dims(1, *shape.kernel, channels))),
        byref(Dims(1, *shape.output[:2], channels)),
    )
    return conv, depthwise, library.arm_avgpool_s8_get_buffer_size(shape.output[1], channels)


def twins(shape, release, core):
    return (
        convolve_wrapper_s8(shape, release, core),
        depthwise_conv_wrapper_s8(as_depthwise(shape), release, core),
        avgpool_s8(shape.input[2], core),
    )


@settings(max_examples=300, deadline=None)
@given(shape=shapes())
def test_twins_equal_the_functions_of_4_0(library, shape):
    assert asked(library, shape) == twins(shape, V40, NONE)


PROGRAM = """
#include "board.h"
#include "arm_nnfunctions.h"
static const int32_t shapes[][12] = {%s};
int main(void)
{
    for (unsigned i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int32_t *s = shapes[i];
        const cmsis_nn_dims in = {1, s[0], s[1], s[2]}, out = {1, s[3], s[4], s[5]};
        const cmsis_nn_dims same = {1, s[3], s[4], s[2]};
        const cmsis_nn_dims filter = {s[5], s[6], s[7], s[2]}, taps = {1, s[6], s[7], s[2]};
        const cmsis_nn_conv_params conv = {.stride = {s[9], s[8]}, .padding = {s[11], s[10]},
                                           .dilation = {1, 1}};
        const cmsis_nn_dw_conv_params depth = {.ch_mult = 1, .stride = {s[9], s[8]},
                                               .padding = {s[11], s[10]}, .dilation = {1, 1}};
        const int32_t conv_size =
            arm_convolve_wrapper_s8_get_buffer_size(&conv, &in, &filter, &out);
        const int32_t depth_size =
            arm_depthwise_conv_wrapper_s8_get_buffer_size(&depth, &in, &taps, &same);
        board_print_u32((uint32_t)conv_size);
        board_print(" ");
        board_print_u32((uint32_t)depth_size);
        board_print(" ");
        board_print_u32((uint32_t)arm_avgpool_s8_get_buffer_size((int)s[4], (int)s[2]));
        board_print("\\n");
    }
    return 0;
}
"""


@pytest.mark.firmware
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs make firmware-test")
@pytest.mark.parametrize(
    ("machine", "core"), [("qemu-m3", NONE), ("qemu-m4", DSP), ("qemu-m33", DSP), ("qemu-m55", MVE)]
)
def test_twins_equal_the_functions_of_4_0_on_the_cores(machine, core, tmp_path):
    target, found = qemu.machine(machine), random_shapes(200)
    rows = [(*s.input, *s.output, *s.kernel, *s.stride, *s.padding) for s in found]
    text = PROGRAM % ", ".join("{" + ", ".join(map(str, row)) + "}" for row in rows)
    (tmp_path / "sizes.c").write_text(text, encoding="utf-8")
    compiled = kernels.compile_with_cmsis_nn(target, tmp_path / "kernels")
    program = qemu.build(
        target,
        [tmp_path / "sizes.c", *compiled.objects],
        tmp_path,
        include=compiled.include,
        flags=compiled.flags,
    )
    printed = qemu.run(target, program, tmp_path).splitlines()
    assert [tuple(map(int, line.split())) for line in printed] == [
        twins(shape, V40, core) for shape in found
    ]


MAP = ConvShape((8, 8, 3), (8, 8, 5), (3, 3), (1, 1), (1, 1), 0)  # 27 weights an output
ROW = ConvShape((1, 50, 4), (1, 50, 8), (1, 5), (1, 1), (0, 2), 0)
SHORT = ConvShape((1, 3, 4), (1, 3, 8), (1, 5), (1, 1), (0, 2), 0)
POINT = ConvShape((6, 6, 24), (6, 6, 10), (1, 1), (1, 1), (0, 0), 0)
SKIP = ConvShape((6, 6, 24), (3, 3, 10), (1, 1), (2, 2), (0, 0), 0)


@pytest.mark.parametrize(
    ("shape", "release", "core", "expected"),
    [
        (MAP, V40, DSP, 4 * 27),
        (MAP, V41, DSP, 4 * 28),
        (MAP, V41, NONE, 4 * 28),
        (MAP, V41, MVE, 4 * 32),
        (MAP, V60, MVE, 4 * 32),
        (ROW, V40, MVE, 4 * 24),  # 50 columns are not in fours: arm_convolve_s8
        (ROW, V41, MVE, 0),
        (ROW, V60, MVE, 7 * 4),  # the window and its padding on the left
        (ROW, V60, DSP, 4 * 20),
        (SHORT, V60, MVE, 4 * 32),  # no column without padding: arm_convolve_s8
        (POINT, V60, DSP, 0),
        (POINT, V70, DSP, 4 * 24),
        (POINT, V70, MVE, 0),
        (SKIP, V70, DSP, 0),
    ],
)
def test_convolutions_of_later_releases(shape, release, core, expected):
    assert convolve_wrapper_s8(shape, release, core) == expected


@pytest.mark.parametrize("weights", range(1, 65))
def test_every_remainder_of_16_is_reserved_as_6_0_rounds_it(weights):
    """One kernel row of a map with ``weights`` channels: 6.0 asks for four times 16, 32, …"""
    shape = ConvShape((4, 4, weights), (4, 3, 8), (1, 2), (1, 1), (0, 0), 0)
    assert conv_bytes(shape) == 4 * -(-2 * weights // 16) * 16
    assert conv_bytes(shape) >= 4 * (-(-2 * weights // 8) * 8)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 9), (7, 1)])
@pytest.mark.parametrize("channels", [1, 8, 124, 125, 247, 248, 500])
def test_depthwise_reserves_the_larger_of_dsp_and_mve(kernel, channels):
    shape = ConvShape((9, 9, channels), (9, 9, channels), kernel, (1, 1), (1, 1), 0)
    taps = kernel[0] * kernel[1]
    assert depthwise_bytes(shape) == max(2 * channels, 4 * 124) * taps


def test_depthwise_from_4_1_on():
    shape = as_depthwise(MAP)
    assert depthwise_conv_wrapper_s8(shape, V40, DSP) == 2 * 3 * 9
    assert depthwise_conv_wrapper_s8(shape, V41, DSP) == 0
    assert depthwise_conv_wrapper_s8(shape, V41, MVE) == 4 * 124 * 9
    several = ConvShape((8, 8, 3), (8, 8, 6), (3, 3), (1, 1), (1, 1), 0)
    assert depthwise_bytes(several) == 0


def test_pools_sum_in_int32():
    assert average_pool_bytes(40) == 160


# ---- forms -----------------------------------------------------------------------------------


def refused(shape):
    """Whether the row kernel of 4.1 or later refuses the row, by its own condition."""
    total = (shape.output[1] - 1) * shape.stride[1] + shape.kernel[1] - shape.input[1]
    return 2 * shape.padding[1] + int(np.fmod(total, 2)) != total


@settings(max_examples=400, deadline=None)
@given(shape=shapes(height=1))
def test_no_release_refuses_the_form_of_a_row(shape):
    form = dense_form(shape)
    assert form is not None or shape.input[:2] == (1, 1)
    for release in Release:
        if form is not None and takes_1_x_n(form, release):
            assert form == shape
            assert release is V40 or not refused(form)


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "padding", "turned"),
    [
        (128, 5, 2, 2, True),  # the smart-watch net's second layer: PyTorch's padding, even width
        (127, 5, 2, 2, True),  # accepted, but its last window lacks two columns: wrong from 6.0 on
        (127, 3, 2, 1, False),
        (128, 3, 2, 1, True),
        (128, 5, 1, 2, False),
        (127, 3, 3, 1, False),
        (126, 3, 3, 1, True),
        (64, 4, 4, 0, False),
        (66, 4, 4, 0, True),
        (3, 5, 1, 2, True),  # too short for a window without padding
    ],
)
def test_rows_are_turned_when_a_release_would_not_do(width, kernel, stride, padding, turned):
    outputs = (width + 2 * padding - kernel) // stride + 1
    shape = ConvShape((1, width, 8), (1, outputs, 6), (1, kernel), (1, stride), (0, padding), 0)
    assert dense_form(shape) == (shape.transposed() if turned else shape)


def test_a_row_padded_into_a_map_has_no_form():
    shape = ConvShape((1, 16, 4), (3, 16, 6), (1, 3), (1, 1), (1, 1), 0)
    assert dense_form(shape) is None


@pytest.fixture(scope="module")
def portable(tmp_path_factory):
    return Kernels(compile_runtime(tmp_path_factory.mktemp("portable")))


@settings(max_examples=60, deadline=None)
@given(shape=shapes(height=1), seed=st.integers(0, 2**16))
def test_a_row_and_its_form_have_the_same_bytes(portable, library, shape, seed):
    rng = np.random.default_rng(seed)
    form = dense_form(shape) or shape
    x = rng.integers(-128, 128, shape.input).astype(np.int8)
    outputs, channels = shape.output[2], shape.input[2]
    weights = rng.integers(-127, 128, (outputs, *shape.kernel, channels)).astype(np.int8)
    bias = rng.integers(-2000, 2000, outputs).astype(np.int32)
    multiplier = rng.integers(2**20, 2**24, outputs).astype(np.int32)
    rescale = Rescale(multiplier, np.zeros(outputs, np.int32), 7, -3)
    expected = portable.conv(
        x, weights, bias, Window(shape.kernel, shape.stride, shape.padding), rescale
    )
    turned = weights.reshape(outputs, *form.kernel, channels)
    for kernel in (portable, Kernels(library._name)):
        found = kernel.conv(
            x.reshape(form.input),
            turned,
            bias,
            Window(form.kernel, form.stride, form.padding),
            rescale,
        )
        np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1))
