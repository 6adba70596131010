"""The integer model: what quantization produces, the interpreter runs and firmware is made from.

Arithmetic is that of TensorFlow Lite and CMSIS-NN: int8 activations with one scale per tensor,
int8 weights symmetric with one scale per output channel, int32 biases and accumulators,
fixed-point rescaling (:mod:`fedtiny.quant.requantize`).

Layouts are the microcontroller's: activations ``(H, W, C)``, weights ``(O, H, W, I)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.models.graph import INPUT, Shape

Int8s = npt.NDArray[np.int8]
Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

INT8_MIN, INT8_MAX = -128, 127


class QuantizationError(FedTinyError):
    """The model cannot be quantized; the message names the layer or tensor and the fix."""


@dataclass(frozen=True, slots=True)
class Activation:
    """How one int8 tensor is read: ``real = scale · (q − zero_point)``.

    Attributes:
        shape: (C, H, W), as in the layer graph; in memory it lies as (H, W, C).
        scale: > 0, exactly representable in float32.
        zero_point: in [-128, 127]; the code of real 0.
    """

    shape: Shape
    scale: float
    zero_point: int

    @property
    def nbytes(self) -> int:
        """Bytes of one sample's tensor."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class IntegerWeight:
    """int8 weights held sparsely; a dense layer simply holds every position.

    Attributes:
        shape: (O, H, W, I); (O, 1, 1, features) for a linear layer; (O, H, W, 1) for a depthwise
            convolution.
        indices: int32 ``(nnz,)``, flat positions in OHWI order, strictly ascending.
        values: int8 ``(nnz,)`` in [-127, 127], none of them 0.
    """

    shape: tuple[int, int, int, int]
    indices: Int32s
    values: Int8s

    @property
    def nnz(self) -> int:
        """Non-zero weights."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """nnz / size, in [0, 1]."""
        return self.nnz / prod(self.shape)

    def to_dense(self) -> Int8s:
        """int8 array of ``shape``, zeros filled in."""
        flat = np.zeros(prod(self.shape), np.int8)
        flat[self.indices] = self.values
        return flat.reshape(self.shape)

    def accumulator_bound(self, bias: Int32s) -> int:
        """Largest |accumulator| any input can cause: ``max_o 255·Σ|w| + |bias|``."""
        per_row = np.zeros(self.shape[0], np.int64)
        rows = self.indices // prod(self.shape[1:])
        np.add.at(per_row, rows, np.abs(self.values.astype(np.int64)))
        return int(np.max(255 * per_row + np.abs(bias.astype(np.int64))))


@dataclass(frozen=True, slots=True, eq=False)
class IntegerConv:
    """Convolution, bias, requantization, clamp (which is the ReLU).

    Attributes:
        weight: see :class:`IntegerWeight`; ``groups`` is 1 or the channel count (depthwise).
        bias: int32 ``(O,)`` in units of the accumulator.
        multiplier: int32 ``(O,)`` in [0, 2^30): accumulator unit / output unit, times 2^31.
        stride, padding: (height, width); padding cells hold the input's zero point.
        clamp: (min, max) of the output codes.
    """

    name: str
    input: str
    weight: IntegerWeight
    bias: Int32s
    multiplier: Int32s
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    clamp: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


@dataclass(frozen=True, slots=True, eq=False)
class IntegerLinear:
    """Fully-connected layer over the input flattened in (H, W, C) order; as IntegerConv else."""

    name: str
    input: str
    weight: IntegerWeight
    bias: Int32s
    multiplier: Int32s
    clamp: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


@dataclass(frozen=True, slots=True)
class IntegerAdd:
    """Element-wise addition (``arm_elementwise_add_s8``) and clamp.

    Both operands, less their zero points, are shifted left by :data:`ADD_LEFT_SHIFT` bits and
    rescaled to 2^-16 of an output step; the sum is rescaled by :data:`ADD_MULTIPLIER`, that is
    by 2^-16. Only the last of these three roundings matters.

    Attributes:
        left_multiplier, right_multiplier: operand's scale / output's scale, times 2^27; the
            ratio is below 16.
        clamp: (min, max) of the output codes.
    """

    name: str
    left: str
    right: str
    left_multiplier: int
    right_multiplier: int
    clamp: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class IntegerPool:
    """Average or maximum pooling; input and output share scale and zero point.

    An average is the sum divided by the window's size, rounded half away from zero
    (``arm_avgpool_s8``).
    """

    name: str
    input: str
    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


ADD_LEFT_SHIFT = 20
"""Bits by which an addition raises its operands (CMSIS-NN's DSP version needs at least 16)."""

ADD_MULTIPLIER = 2**15
"""Rescales an addition's sum: 2^15 / 2^31."""

IntegerNode = IntegerConv | IntegerLinear | IntegerAdd | IntegerPool
IntegerLayer = IntegerConv | IntegerLinear
"""A node with weights."""


@dataclass(frozen=True, slots=True, eq=False)
class InputQuantization:
    """Sensor counts to int8, per channel: ``q = (counts·multiplier + offset + half) >> SHIFT``.

    Normalisation ``(counts − mean) / std``, division by the input scale and the zero point are
    all in the two numbers; ``half`` rounds to nearest, ties up; q is clamped to int8.

    Attributes:
        multiplier: int32 ``(C,)``, > 0.
        offset: int64 ``(C,)``, magnitude below 2^62.
    """

    multiplier: Int32s
    offset: Int64s


INPUT_SHIFT = 24
"""Fraction bits of :class:`InputQuantization`."""


@dataclass(frozen=True, slots=True, eq=False)
class IntegerGraph:
    """An int8 model from sensor counts to logits.

    Attributes:
        name: of the architecture.
        input_quantization: sensor counts to the tensor ``"input"``.
        activations: every tensor by name, ``"input"`` included.
        nodes: in execution order; the last one gives the logits.
    """

    name: str
    input_quantization: InputQuantization
    activations: Mapping[str, Activation]
    nodes: tuple[IntegerNode, ...]

    @property
    def input(self) -> Activation:
        """The int8 input tensor."""
        return self.activations[INPUT]

    @property
    def logits(self) -> str:
        """Name of the tensor that :attr:`output` describes."""
        return self.nodes[-1].name

    @property
    def output(self) -> Activation:
        """The int8 logits, shape (classes, 1, 1)."""
        return self.activations[self.logits]

    @property
    def layers(self) -> tuple[IntegerLayer, ...]:
        """The nodes with weights, in order."""
        return tuple(n for n in self.nodes if isinstance(n, IntegerConv | IntegerLinear))
