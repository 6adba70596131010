"""A ``.tflite`` file as plain values: tensors and operators, every offset and length checked.

The format is a FlatBuffer (the packages ``tflite`` and ``flatbuffers``, extra ``tflite``): a
damaged one leads its readers anywhere inside the file, never out of it. What they trip over becomes
one sentence here; what they would do a billion times is counted against the file's size first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedtiny.data.errors import DataError, bad_file

if TYPE_CHECKING:
    from types import ModuleType

INSTALL = "pip install 'fedtiny[tflite]'"

MAX_BYTES = 256 * 1024 * 1024
"""Of a file: a microcontroller's has a hundredth."""

MAX_VALUES = 2**24
"""Of one tensor: more than any microcontroller holds."""

_IDENTIFIER = b"TFL3"

_DAMAGE = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What the format's readers raise when an offset or a length is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class TfliteTensor:
    """One tensor.

    Attributes:
        name: for messages.
        kind: of its values, in TensorFlow Lite's words: ``"INT8"``, ``"FLOAT32"``, …
        shape: all dimensions, the batch's included.
        scales: float32 ``(1,)`` or one a channel; empty if it is not quantized.
        zero_points: int64, as many.
        axis: of the channels that have scales of their own.
        data: the bytes of a constant; None of a variable.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int
    data: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class TfliteOperator:
    """One operator.

    Attributes:
        kind: in TensorFlow Lite's words: ``"CONV_2D"``, …
        inputs: indices of tensors; -1 where an optional one is left out.
        outputs: indices of tensors.
        options: by the schema's names; empty for kinds that need none here.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class TfliteModel:
    """The only subgraph of a file.

    Attributes:
        name: made from the file's.
        tensors: all of them.
        operators: in execution order.
        inputs, outputs: indices of tensors.
    """

    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": (
        "Conv2DOptions",
        (
            *("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor"),
            "FusedActivationFunction",
        ),
    ),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        (
            *("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor"),
            *("DepthMultiplier", "FusedActivationFunction"),
        ),
    ),
    "AVERAGE_POOL_2D": (
        "Pool2DOptions",
        (
            *("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth"),
            "FusedActivationFunction",
        ),
    ),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "RESIZE_NEAREST_NEIGHBOR": (
        "ResizeNearestNeighborOptions",
        ("AlignCorners", "HalfPixelCenters"),
    ),
}
OPTIONS["MAX_POOL_2D"] = OPTIONS["AVERAGE_POOL_2D"]
"""Table of the schema and what is read of it, by kind of operator."""


def read_file(path: Path) -> TfliteModel:
    """The model in a file.

    Raises:
        DataError: the file, named with the reason: unreadable, no ``.tflite``, damaged, several
            subgraphs, or larger than any microcontroller's; or the extra is not installed.
    """
    schema = _schema()
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror}") from error
    if size > MAX_BYTES:
        raise bad_file(path, f"{size:,} bytes are no microcontroller's model")
    if raw[4:8] != _IDENTIFIER:
        raise bad_file(path, "is no .tflite file: it lacks the identifier TFL3")
    try:
        return _model(schema, raw, path)
    except _DAMAGE as error:
        raise bad_file(path, f"the .tflite file is damaged ({str(error)[:80]})") from error


def _schema() -> ModuleType:
    try:
        import tflite  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise DataError(f"reading .tflite files takes the extra: {INSTALL}") from error
    schema: ModuleType = tflite
    return schema


def _model(schema: ModuleType, raw: bytes, path: Path) -> TfliteModel:
    root = schema.Model.GetRootAsModel(raw, 0)
    if root.SubgraphsLength() != 1:
        raise bad_file(
            path,
            f"it has {root.SubgraphsLength():,} subgraphs: control flow or several signatures; "
            "convert one function without them",
        )
    graph = root.Subgraphs(0)
    tensors = _items(graph.TensorsLength, graph.Tensors, raw, "tensors")
    operators = _items(graph.OperatorsLength, graph.Operators, raw, "operators")
    names = _names(schema.TensorType)
    return TfliteModel(
        path.stem,
        tuple(_tensor(tensor, root, names) for tensor in tensors),
        tuple(_operator(operator, root, schema) for operator in operators),
        _indices(graph.InputsLength, graph.InputsAsNumpy),
        _indices(graph.OutputsLength, graph.OutputsAsNumpy),
    )


def _items(
    length: Callable[[], int], item: Callable[[int], Any], raw: bytes, what: str
) -> Iterator[Any]:
    count = length()
    if count * 4 > len(raw):
        raise ValueError(f"{count} {what} are more than it can hold")
    return (item(i) for i in range(count))


@cache
def _names(enumeration: type) -> dict[int, str]:
    """Names of a schema's constants by value."""
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _indices(length: Callable[[], int], values: Callable[[], Any]) -> tuple[int, ...]:
    return tuple(values().tolist()) if length() else ()


def _tensor(tensor: Any, root: Any, kinds: dict[int, str]) -> TfliteTensor:  # noqa: ANN401 - the schema's classes are untyped
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    shape = _indices(tensor.ShapeLength, tensor.ShapeAsNumpy)
    dynamic = -1 in _indices(tensor.ShapeSignatureLength, tensor.ShapeSignatureAsNumpy)[1:]
    if dynamic or any(side < 0 for side in shape):
        raise ValueError(f"tensor {name[:80]!r} has a dynamic shape; convert with fixed shapes")
    if prod(shape) > MAX_VALUES:
        raise ValueError(f"tensor {name[:80]!r} has {prod(shape):,} values")
    quantization = tensor.Quantization()
    scales, zero_points, axis = np.empty(0, np.float32), np.empty(0, np.int64), 0
    if quantization is not None and quantization.ScaleLength():
        scales = quantization.ScaleAsNumpy()
        axis = quantization.QuantizedDimension()
        zero_points = np.zeros(len(scales), np.int64)
        if quantization.ZeroPointLength():
            zero_points = quantization.ZeroPointAsNumpy()
    if len(scales) != len(zero_points) or not np.all(np.isfinite(scales) & (scales > 0)):
        raise ValueError(f"tensor {name[:80]!r} has scales that are not positive")
    buffer = root.Buffers(tensor.Buffer())
    data = buffer.DataAsNumpy().tobytes() if buffer is not None and buffer.DataLength() else None
    kind = kinds.get(tensor.Type(), f"type {tensor.Type()}")
    return TfliteTensor(name, kind, shape, scales, zero_points, axis, data)


def _operator(operator: Any, root: Any, schema: ModuleType) -> TfliteOperator:  # noqa: ANN401 - as above
    code = root.OperatorCodes(operator.OpcodeIndex())
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    kind = _names(schema.BuiltinOperator).get(builtin, f"operator {builtin}")
    if kind == "CUSTOM":
        kind = f"custom operator {(code.CustomCode() or b'').decode('utf-8', 'replace')[:80]!r}"
    options = {}
    if kind in OPTIONS:
        table, fields = OPTIONS[kind]
        read = getattr(schema, table)()
        union = operator.BuiltinOptions()
        read.Init(union.Bytes, union.Pos)
        options = {field: int(getattr(read, field)()) for field in fields}
    return TfliteOperator(
        kind,
        _indices(operator.InputsLength, operator.InputsAsNumpy),
        _indices(operator.OutputsLength, operator.OutputsAsNumpy),
        options,
    )
