"""A ``.tflite`` model becoming an integer model: what operators read, and where they put theirs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.importing.tflite_file import TfliteModel, TfliteOperator, TfliteTensor
from fedtiny.models.ops import Shape
from fedtiny.models.ops.tensor import Pair
from fedtiny.quant.integer_model import IntegerNode
from fedtiny.quant.tensors import Int8Tensor

NO_PADS = ((0, 0), (0, 0))


class TfliteError(FedTinyError):
    """An operator or a tensor that cannot be taken; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Value:
    """A variable tensor of the file, as a tensor of the integer model.

    Attributes:
        name: of the integer model's tensor, whose bytes these are.
        shape: (C, H, W) in which the file sees these bytes, pads included.
        pads: ((top, bottom), (left, right)) that a PAD put around it, zero points all.
    """

    name: str
    shape: Shape
    pads: tuple[Pair, Pair] = NO_PADS


@dataclass(slots=True)
class Assembly:
    """The integer model so far.

    Attributes:
        model: the file.
        tensors: of the integer model, by name.
        nodes: of the integer model, in order.
        values: variable tensors so far, by their index in the file.
        remarks: what people should know of how it was read.
        position: of the operator that is being taken, in the file.
    """

    model: TfliteModel
    tensors: dict[str, Int8Tensor] = field(default_factory=dict)
    nodes: list[IntegerNode] = field(default_factory=list)
    values: dict[int, Value] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    position: int = 0

    @property
    def operator(self) -> TfliteOperator:
        """The operator that is being taken."""
        return self.model.operators[self.position]

    def refuse(self, reason: str, remedy: str) -> TfliteError:
        """The error that names the operator, its result and what to do."""
        where = f"operator {self.position}, {self.operator.kind}"
        if self.operator.outputs and 0 <= self.operator.outputs[0] < len(self.model.tensors):
            where += f" ({self.model.tensors[self.operator.outputs[0]].name[-80:]!r})"
        return TfliteError(f"{where}: {reason}; {remedy}")

    def tensor(self, index: int) -> TfliteTensor:
        """A tensor of the file."""
        if not 0 <= index < len(self.model.tensors):
            raise self.refuse(f"there is no tensor {index}", "the file is damaged: convert again")
        return self.model.tensors[index]

    def input_index(self, number: int) -> int:
        """Index of an input of the operator; -1 for an optional one that is left out."""
        inputs = self.operator.inputs
        return inputs[number] if number < len(inputs) else -1

    def output(self) -> TfliteTensor:
        """The only result of the operator."""
        if len(self.operator.outputs) != 1:
            raise self.refuse(
                f"it has {len(self.operator.outputs)} results", "only operators of one are taken"
            )
        return self.tensor(self.operator.outputs[0])

    def variable(self, number: int, *, padded: bool = False) -> Value:
        """What an input of the operator is in the integer model.

        Args:
            number: of the input.
            padded: whether the operator takes what a PAD put around it.
        """
        index = self.input_index(number)
        tensor = self.tensor(index)
        if index not in self.values:
            raise self.refuse(
                f"input {number} ({tensor.name[-80:]!r}) is a constant or of type {tensor.kind}",
                "it must be computed from the model's input, in int8",
            )
        value = self.values[index]
        if value.pads != NO_PADS and not padded:
            raise self.refuse(
                "it reads the result of a PAD", "only convolutions take padding: pad before one"
            )
        return value

    def source(self, value: Value) -> Int8Tensor:
        """The integer model's tensor of a value."""
        return self.tensors[value.name]

    def framed(self, value: Value) -> Int8Tensor:
        """The tensor that a window walks over; its shape must be the one that the file sees."""
        tensor = self.source(value)
        height, width = (
            size + sum(pads) for size, pads in zip(tensor.shape[1:], value.pads, strict=True)
        )
        if (tensor.shape[0], height, width) != value.shape:
            raise self.refuse(
                f"it reads a map of {tensor.shape} reshaped to {value.shape} (C, H, W)",
                "a RESHAPE is taken before fully-connected layers only",
            )
        return tensor

    def constant(
        self, number: int, kind: str, dtype: npt.DTypeLike, shape: tuple[int, ...] | None = None
    ) -> npt.NDArray[np.generic]:
        """Values of a constant input.

        Args:
            number: of the input.
            kind: that it must have, in TensorFlow Lite's words.
            dtype: the same for numpy.
            shape: that it must have; None: its own.
        """
        tensor = self.tensor(self.input_index(number))
        shape = tensor.shape if shape is None else shape
        if tensor.kind != kind or tensor.data is None:
            held = "a variable" if tensor.data is None else f"of type {tensor.kind}"
            raise self.refuse(
                f"input {number} ({tensor.name[-80:]!r}) is {held}, not a constant of {kind}",
                "convert with full integer quantization (int8, post-training or aware)",
            )
        size = prod(shape) * np.dtype(dtype).itemsize
        if tensor.shape != shape or len(tensor.data) != size:
            raise self.refuse(
                f"input {number} has shape {tensor.shape} and {len(tensor.data)} bytes, expected "
                f"{shape} and {size}",
                "the file is damaged: convert again",
            )
        values: npt.NDArray[np.generic] = np.frombuffer(tensor.data, dtype).reshape(shape)
        return values

    def is_constant(self, number: int) -> bool:
        """Whether an input is there and no variable."""
        index = self.input_index(number)
        return 0 <= index < len(self.model.tensors) and self.model.tensors[index].data is not None

    def quantized(self, tensor: TfliteTensor, shape: Shape) -> Int8Tensor:
        """How a variable int8 tensor of the file is read."""
        if tensor.kind != "INT8":
            raise self.refuse(
                f"{tensor.name[-80:]!r} is {tensor.kind}, not INT8",
                "convert with full integer quantization: TFLITE_BUILTINS_INT8 and a "
                "representative data set",
            )
        if len(tensor.scales) != 1 or not -128 <= tensor.zero_points[0] <= 127:
            raise self.refuse(
                f"{tensor.name[-80:]!r} has {len(tensor.scales)} scales, or a zero point that is "
                "no int8",
                "activations have one scale: convert again",
            )
        return Int8Tensor(shape, float(tensor.scales[0]), int(tensor.zero_points[0]))

    def require_same_scale(self, source: Int8Tensor, output: Int8Tensor) -> None:
        """Refuse an operator that would have to rescale."""
        if (source.scale, source.zero_point) != (output.scale, output.zero_point):
            raise self.refuse(
                f"scales {source.scale:g} and {output.scale:g} or zero points that differ",
                "its input and result must share both: convert again",
            )

    def new_name(self) -> str:
        """Of the operator's node: kind and position, as viewers of such files number it."""
        return f"{self.operator.kind.lower()}_{self.position}"

    def add(self, node: IntegerNode, tensor: Int8Tensor, shape: Shape | None = None) -> None:
        """The operator's node and its tensor; ``shape``: (C, H, W) in which the file sees it."""
        self.tensors[node.name] = tensor
        self.nodes.append(node)
        self.bind(Value(node.name, tensor.shape if shape is None else shape))

    def bind(self, value: Value) -> None:
        """The operator's result is ``value``."""
        self.values[self.operator.outputs[0]] = value

    def seen_as(self, value: Value, tensor: TfliteTensor) -> Value:
        """The same bytes in the shape of ``tensor``."""
        shape = self.sample_shape(tensor)
        if prod(shape) != prod(value.shape):
            raise self.refuse(
                f"{tensor.name[-80:]!r} has {prod(shape):,} values, its input "
                f"{prod(value.shape):,}",
                "the file is damaged: convert again",
            )
        return replace(value, shape=shape)

    def sample_shape(self, tensor: TfliteTensor) -> Shape:
        """(C, H, W) of a tensor (1, …, C)."""
        dimensions = tensor.shape
        if dimensions and dimensions[0] != 1:
            raise self.refuse(
                f"{tensor.name[-80:]!r} has the shape {dimensions}", "only a batch of 1 is taken"
            )
        match dimensions[1:]:
            case (height, width, channels):
                return (channels, height, width)
            case (time, channels):
                return (channels, 1, time)
            case (features,):
                return (features, 1, 1)
        raise self.refuse(
            f"{tensor.name[-80:]!r} has {len(dimensions)} dimensions", "two to four are taken"
        )


def clamped(function: int, output: Int8Tensor, assembly: Assembly) -> tuple[int, int]:
    """(min, max) of codes for a fused activation, as TensorFlow Lite rounds them."""
    bounds = FUSED.get(function)
    if bounds is None:
        raise assembly.refuse(
            f"a fused activation of number {function}", "none, relu, relu6 and relu_n1_to_1 are"
        )
    low, high = bounds
    return max(-128, _code(low, output, -128)), min(127, _code(high, output, 127))


NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)

FUSED: dict[int, tuple[float | None, float | None]] = {
    NONE: (None, None),
    RELU: (0.0, None),
    RELU_N1_TO_1: (-1.0, 1.0),
    RELU6: (0.0, 6.0),
}
"""Limits by the schema's number of the function."""


def _code(bound: float | None, output: Int8Tensor, default: int) -> int:
    if bound is None:
        return default
    with np.errstate(over="ignore"):
        steps = float(np.float32(bound) / np.float32(output.scale))
    away = int(np.floor(min(abs(steps), 256.0) + 0.5))  # farther than any code
    return output.zero_point + (away if steps >= 0 else -away)


def positive(numbers: Iterable[int], what: str, assembly: Assembly) -> tuple[int, ...]:
    """``numbers`` if all are at least 1."""
    found = tuple(numbers)
    if min(found) < 1:
        raise assembly.refuse(f"{what} {found}", "the file is damaged: convert again")
    return found
