"""A graph that is being drawn, call by call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from fedtiny.models.from_torch.program import Program
from fedtiny.models.from_torch.refusal import UnsupportedModuleError, operation, refusal
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node, Pool, Shape, Upsample
from fedtiny.models.ops.tensor import Pair, lifted
from fedtiny.models.parameters import ParameterKind
from fedtiny.sparse.tensor import Floats

NO_PADS: tuple[Pair, Pair] = ((0, 0), (0, 0))


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the drawn graph, as the network sees it at one point.

    Both hold the same numbers in the same order; views change only the shape.

    Attributes:
        tensor: its name in the graph.
        shape: of one sample in the network.
        origin: the call that made it, before any view.
        pads: zeros around it in the network, ((top, bottom), (left, right)); ``shape`` counts them.
    """

    tensor: str
    shape: tuple[int, ...]
    origin: fx.Node
    pads: tuple[Pair, Pair] = NO_PADS

    @property
    def inner(self) -> tuple[int, ...]:
        """:attr:`shape` without the pads."""
        extent = tuple(map(sum, self.pads))[3 - len(self.shape) :]
        if self.pads == NO_PADS:
            return self.shape
        sizes = zip(self.shape[1:], extent, strict=True)
        return (self.shape[0], *(size - pads for size, pads in sizes))


Reader = Callable[[fx.Node, Mapping[str, Any], "Drawing"], Value | Tensor]
"""``read(call, arguments by name, drawing)``: what the call gives."""


@dataclass(slots=True, eq=False)
class Drawing:
    """Nodes and arrays so far.

    Attributes:
        program: that is drawn.
        nodes: by name, in order.
        arrays: by parameter name.
        shapes: (C, H, W) by tensor.
        values: what calls gave, network tensors and constants.
        layer_of: layer by the name of the weight it holds: each may be used once.
        special: readers of calls that also take constants, by the operation's whole name.
    """

    program: Program
    nodes: dict[str, Node] = field(default_factory=dict)
    arrays: dict[str, Floats] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    values: dict[fx.Node, Value | Tensor] = field(default_factory=dict)
    layer_of: dict[str, str] = field(default_factory=dict)
    special: Mapping[str, Reader] = field(default_factory=dict)

    def value(
        self, call: fx.Node, given: object, dims: int | None = None, *, padded: bool = False
    ) -> Value:
        """The tensor of the graph that ``given`` stands for.

        Args:
            call: reads it.
            given: an argument.
            dims: the network's tensor must have so many dimensions besides the samples', and be
                laid out as the graph's is.
            padded: whether ``call`` takes zeros around it.

        Raises:
            UnsupportedModuleError: it is a constant, or laid out otherwise.
        """
        found = self.values.get(given) if isinstance(given, fx.Node) else None
        if not isinstance(found, Value):
            raise refusal(
                call,
                "it works on a constant; what is computed must come from the input, and constants "
                "only be weights, biases and batch norms",
            )
        if found.pads != NO_PADS and not padded:
            raise refusal(call, "it reads what was padded; only convolutions take padding")
        if dims is not None and len(found.shape) != dims:
            raise refusal(call, f"it works on samples of shape {found.shape}, not {dims}-D ones")
        if dims is not None and lifted(found.inner) != self.shapes[found.tensor]:
            shape = self.shapes[found.tensor]
            where = "the samples are" if found.tensor == INPUT else f"{found.tensor!r} is"
            raise refusal(
                call,
                f"it works on {found.shape}, but {where} {shape} as channels, height and width; a "
                "view may only flatten: give samples of the shape that the first layer takes",
            )
        return found

    def constant(self, call: fx.Node, given: object, what: str) -> tuple[str, Floats] | None:
        """(name, float32) of a constant argument; None for None.

        Raises:
            UnsupportedModuleError: it is computed from the input, of another type, or not finite.
        """
        if given is None:
            return None
        found = self.values.get(given) if isinstance(given, fx.Node) else None
        if not isinstance(found, Tensor) or not isinstance(given, fx.Node):
            raise refusal(call, f"its {what} is computed from the input; it must be a parameter")
        name = self.program.constants.get(given, ("", found))[0]
        if found.dtype != torch.float32:
            raise refusal(call, f"its {what} is {found.dtype}; convert it: module.float()")
        array: Floats = found.detach().cpu().numpy().copy()
        if not np.isfinite(array).all():
            raise refusal(
                call, f"its {what} {name!r} has NaN or infinite values; the training diverged"
            )
        return name, array

    def alone(self, given: object) -> bool:
        """Whether the value that ``given`` stands for is read nowhere else, views included."""
        while isinstance(given, fx.Node) and len(given.users) == 1:
            found = self.values[given]
            if isinstance(found, Value) and found.origin is given:
                return True
            given = given.args[0]
        return False

    def name_of(self, call: fx.Node) -> str:
        """For the node of a call without a name of its own: what is called, numbered."""
        return self.unused(operation(call).strip("_"))

    def unused(self, wanted: str) -> str:
        """``wanted``, or that with a number, so that no other tensor or array is called so."""
        taken = {INPUT, *self.nodes}
        name, number = wanted, 1
        while name in taken or any(other.startswith(f"{name}.bn.") for other in self.arrays):
            name, number = f"{wanted}_{number}", number + 1
        return name

    def add(self, call: fx.Node, node: Node, arrays: Mapping[ParameterKind, Floats]) -> Value:
        """Append ``node`` with its arrays; what it gives is what ``call`` gave.

        Raises:
            UnsupportedModuleError: it does not fit its inputs.
        """
        inputs = [self.shapes[name] for name in node.inputs]
        try:
            node.check(*inputs)
        except Exception as error:
            raise refusal(call, str(error)) from error
        self.nodes[node.name] = node
        self.shapes[node.name] = node.output_shape(inputs[0])
        self.arrays |= {kind.of(node.name): array for kind, array in arrays.items()}
        return Value(node.name, self.shape(call), call)

    def change(self, node: Node, arrays: Mapping[ParameterKind, Floats] | None = None) -> None:
        """Put ``node`` in place of the one of its name, and ``arrays`` in place of its own."""
        self.nodes[node.name] = node
        if arrays is not None:
            kept = {row.name for row in node.parameters}
            mine = {kind.of(node.name) for kind in ParameterKind}
            rest = {k: v for k, v in self.arrays.items() if k not in mine or k in kept}
            self.arrays = rest | {kind.of(node.name): array for kind, array in arrays.items()}

    def shape(self, call: fx.Node) -> tuple[int, ...]:
        """Of one sample of what ``call`` gives.

        Raises:
            UnsupportedModuleError: it gives no tensor of floats, or not a row for each sample.
        """
        value = call.meta.get("val")
        if isinstance(value, tuple | list) and value:
            value = value[0]
        if not isinstance(value, Tensor):
            raise refusal(call, "it gives no tensor")
        sizes = [size for size in value.shape if isinstance(size, int)]
        if len(sizes) != value.dim() or not sizes:
            raise refusal(call, "its shape depends on values; shapes must be fixed")
        if sizes[0] != self.program.rows:
            raise refusal(
                call,
                f"of {self.program.rows} samples it makes {sizes[0]} rows; samples may not be "
                "mixed: keep the first dimension, e.g. torch.flatten(x, 1)",
            )
        return tuple(sizes[1:])

    def activate(self, given: object, activation: Activation) -> bool:
        """Make ``activation`` part of the node that made ``given``; False if it cannot be."""
        value = self.values[given] if isinstance(given, fx.Node) else None
        node = self.nodes.get(value.tensor) if isinstance(value, Value) else None
        if node is None or not isinstance(value, Value):
            return False
        if node.activation is activation and activation.clamps:
            return True
        if not self.alone(given):
            return False
        if isinstance(node, Pool):  # a maximum of what is clamped is the maximum, clamped
            monotone = node.kind == "max" and activation.clamps
            return monotone and self.activate(value.origin.args[0], activation)
        if isinstance(node, Upsample):  # what is copied may be activated before
            return self.activate(value.origin.args[0], activation)
        if not isinstance(node, Conv | Linear | Add) or node.activation is not Activation.NONE:
            return False
        self.change(replace(node, activation=activation))
        return True


def input_shape(program: Program) -> tuple[int, ...]:
    """Of one sample of what the program takes.

    Raises:
        UnsupportedModuleError: there is no height, width or time to it that we know.
    """
    shape = tuple(program.input.meta["val"].shape[1:])
    if lifted(shape) is None:
        raise UnsupportedModuleError(
            f"{program.name} takes samples of shape {shape}; they must be (C, H, W), (C, T) or (F,)"
        )
    return shape
