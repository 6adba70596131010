"""A converted PT2E program: its float graph, and the scales that somebody else calibrated.

``torchao.quantization.pt2e`` leaves a program of ordinary calls on floats, with pairs of
``quantize_per_tensor`` and ``dequantize_per_tensor`` where there are int8 tensors, and weights as
int8 constants. Reading one needs PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from typing_extensions import override

from fedtiny.errors import FedTinyError
from fedtiny.models.from_torch.drawing import Drawing, Reader, Value
from fedtiny.models.from_torch.program import program_of, quiet
from fedtiny.models.from_torch.reading import draw, finished
from fedtiny.models.from_torch.refusal import refusal
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Pool
from fedtiny.models.ops.activation import Activation, linear_name
from fedtiny.quant.fold import Doubles
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8Tensor
from fedtiny.sparse.tensor import Floats

_NAMESPACE = "quantized_decomposed"

_TENSOR = "float scale, int zero_point, int quant_min, int quant_max, ScalarType dtype"
_CHANNELS = (
    "Tensor scales, Tensor? zero_points, int axis, int quant_min, int quant_max, ScalarType dtype"
)
_OPERATIONS = {
    "quantize_per_tensor": f"(Tensor input, {_TENSOR}) -> Tensor",
    "dequantize_per_tensor": f"(Tensor input, {_TENSOR}, *, ScalarType? out_dtype=None) -> Tensor",
    "quantize_per_channel": f"(Tensor input, {_CHANNELS}) -> Tensor",
    "dequantize_per_channel": (
        f"(Tensor input, {_CHANNELS}, *, ScalarType? out_dtype=None) -> Tensor"
    ),
}
"""Signatures by name, for PyTorch, which must know them to read a program."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedProgram:
    """A network with the quantization that it came with.

    Attributes:
        graph: the architecture, without batch norms.
        arrays: its weights and biases by parameter name; weights are whole codes times scales.
        tensors: the int8 tensors by name: the input, what nodes give, and ``{node}.linear``, what
            their activations are applied to, where that is int8, too.
        weight_scales: float64 ``(O,)`` by layer; a layer that is not there has none of its own.
    """

    graph: Graph
    arrays: Mapping[str, Floats]
    tensors: Mapping[str, Int8Tensor]
    weight_scales: Mapping[str, Doubles]


def read_program_file(path: Path) -> QuantizedProgram:
    """What ``torch.export.save`` wrote of a converted program.

    Raises:
        FedTinyError: no such program, one that was not converted, or that is no graph of ours; the
            message names the file or the operation.
    """
    program = program_of(_load(path), path.stem)
    drawing = QuantizedDrawing(program, special=_SPECIAL)
    graph, arrays = finished(drawing, draw(drawing), dense=())
    if not drawing.found:
        raise FedTinyError(
            f"{path}: nothing in it is quantized; convert it (prepare_pt2e, calibrate, "
            "convert_pt2e) and export it again, or use --torch"
        )
    tensors = {
        name: Int8Tensor(
            drawing.shapes[name.removesuffix(".linear")], float(np.float32(scale)), zero
        )
        for name, (scale, zero, _) in drawing.found.items()
    }
    weight_scales = {
        layer: drawing.channels[weight]
        for weight, layer in drawing.layer_of.items()
        if weight in drawing.channels
    }
    return QuantizedProgram(graph, arrays, tensors, weight_scales)


def _load(path: Path) -> torch.export.ExportedProgram:
    if not path.is_file():
        raise FedTinyError(f"{path}: no such file")
    try:
        with quiet(), _known_operations():
            return torch.export.load(path)
    except Exception as error:  # damage leads to errors of every kind
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise FedTinyError(
            f"{path}: PyTorch cannot load it as an exported program ({line:.200}); save it with "
            "torch.export.save(torch.export.export(converted, (example,)), path), by a PyTorch "
            "that is not newer than this one"
        ) from error


@contextmanager
def _known_operations() -> Iterator[None]:
    """Whoever quantized the program had these operations; they are read by name, never run."""
    known = getattr(torch.ops, _NAMESPACE)
    missing = [name for name in _OPERATIONS if not hasattr(known, name)]
    with torch.library._scoped_library(_NAMESPACE, "FRAGMENT") as library:  # noqa: SLF001 - else the definitions outlive the reading, and torchao's own would clash with them
        for name in missing:
            library.define(name + _OPERATIONS[name])
        yield


@dataclass(slots=True, eq=False)
class QuantizedDrawing(Drawing):
    """A drawing that remembers scales.

    Attributes:
        found: (scale, zero point, activation that was part of the node then) by tensor.
        channels: scales of constants, float64 ``(O,)``, by the call that made them floats.
    """

    found: dict[str, tuple[float, int, Activation]] = field(default_factory=dict)
    channels: dict[str, Doubles] = field(default_factory=dict)

    @override
    def activate(self, given: object, activation: Activation) -> bool:
        source = self.values.get(given) if isinstance(given, fx.Node) else None
        done = Drawing.activate(self, given, activation)
        if done and isinstance(source, Value) and not isinstance(self.nodes[source.tensor], Pool):
            before = self.found.pop(source.tensor, None)
            if before is not None:
                self.found[linear_name(source.tensor)] = before
        return done

    def record(self, call: fx.Node, tensor: str, scale: float, zero: int) -> None:
        """``tensor`` is int8, read with ``scale`` and ``zero``; after its node's activation.

        Raises:
            UnsupportedModuleError: it is so with others, too.
        """
        node = self.nodes.get(tensor)
        activation = node.activation if node else Activation.NONE
        before = self.found.get(tensor)
        if before is not None and before[2] is activation and before[:2] != (scale, zero):
            raise refusal(
                call,
                f"{tensor!r} has the scale {scale:g} and zero point {zero} here, elsewhere "
                f"{before[0]:g} and {before[1]}; one tensor is quantized in one way",
            )
        self.found[tensor] = (scale, zero, activation)


def _quantize(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value | Tensor:
    assert isinstance(draw, QuantizedDrawing)
    held = draw.values.get(given["input"])
    if isinstance(held, Tensor):
        scale, zero = _affine(call, given, draw, held)
        codes = torch.round(held / scale) + zero
        return codes.clamp(given["quant_min"], given["quant_max"]).to(torch.int8)
    source = draw.value(call, given["input"])
    if (given["dtype"], given["quant_min"], given["quant_max"]) != (torch.int8, INT8_MIN, INT8_MAX):
        raise refusal(
            call,
            f"it makes {given['dtype']} in {given['quant_min']} to {given['quant_max']}; kernels "
            "take int8 in -128 to 127: choose a quantizer for microcontrollers",
        )
    if "scale" not in given:
        raise refusal(call, "it quantizes activations by channel; kernels take a scale a tensor")
    draw.record(call, source.tensor, float(given["scale"]), int(given["zero_point"]))
    return source


def _dequantize(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value | Tensor:
    assert isinstance(draw, QuantizedDrawing)
    held = draw.values.get(given["input"])
    if not isinstance(held, Tensor):
        return draw.value(call, given["input"])
    if held.dtype != torch.int8 or bool((held == INT8_MIN).any()):
        raise refusal(call, "its weights must be int8 in -127 to 127 (quant_min=-127)")
    scale, zero = _affine(call, given, draw, held)
    if bool((zero != 0).any()):
        raise refusal(call, "its weights have zero points; use a symmetric scheme for weights")
    draw.channels[str(call)] = np.broadcast_to(
        scale.flatten().double().numpy(), (held.shape[0],)
    ).copy()
    return held.float() * scale.float()


def _affine(
    call: fx.Node, given: Mapping[str, Any], draw: Drawing, held: Tensor
) -> tuple[Tensor, Tensor]:
    """(scale, zero point) of a constant, of a shape that fits it."""
    if "scale" in given:
        return torch.tensor(given["scale"]), torch.tensor(given["zero_point"])
    if given["axis"] != 0:
        raise refusal(call, f"its weights have scales along axis {given['axis']}; use axis 0")
    shape = (-1, *(1,) * (held.dim() - 1))
    found = [draw.values.get(given[key]) for key in ("scales", "zero_points")]
    scales, zeros = (one for one in found)
    if not isinstance(scales, Tensor):
        raise refusal(call, "its scales are no constants")
    return scales.view(shape), zeros.view(shape) if isinstance(zeros, Tensor) else torch.zeros(1)


_SPECIAL: Mapping[str, Reader] = {
    f"{_NAMESPACE}.{name}.default": _dequantize if name.startswith("de") else _quantize
    for name in _OPERATIONS
}
