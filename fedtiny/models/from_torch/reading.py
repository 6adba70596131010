"""A module to a graph with its arrays: every call of its program through the table of readers."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from fedtiny.models.from_torch.drawing import Drawing, Value, input_shape
from fedtiny.models.from_torch.program import Program, export, is_harmless, writes
from fedtiny.models.from_torch.refusal import (
    ALLOWED,
    UnsupportedModuleError,
    operation,
    reason,
    refusal,
)
from fedtiny.models.from_torch.table import READERS
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Node
from fedtiny.models.ops.tensor import lifted
from fedtiny.sparse.tensor import Floats

FEW = 2
"""Layers that are all prunable: of so many, ends that are not would leave none."""


def read_module(
    module: nn.Module, example: Tensor, dense: Sequence[str] | None = None
) -> tuple[Graph, dict[str, Floats]]:
    """See :meth:`fedtiny.models.graph.Graph.from_torch`."""
    return read_program(export(module, example), dense)


def read_program(
    program: Program, dense: Sequence[str] | None = None
) -> tuple[Graph, dict[str, Floats]]:
    """The graph of a program, and its arrays by parameter name.

    Raises:
        UnsupportedModuleError: it does what no graph does; the message names the call.
        GraphError: the nodes do not fit together.
    """
    drawing = Drawing(program)
    return finished(drawing, draw(drawing), dense)


def finished(
    drawing: Drawing, output: Value, dense: Sequence[str] | None = None
) -> tuple[Graph, dict[str, Floats]]:
    """The graph of a drawing whose last value is ``output``, and its arrays.

    Raises:
        UnsupportedModuleError, GraphError: see :func:`read_program`.
    """
    program = drawing.program
    if not drawing.nodes or output.tensor == INPUT:
        raise UnsupportedModuleError(
            f"{program.name} computes nothing; a network may have {ALLOWED}"
        )
    channels, height, width = drawing.shapes[output.tensor]
    if (height, width) != (1, 1):
        raise UnsupportedModuleError(
            f"{program.name} gives maps {channels}×{height}×{width}; firmware gives one number for "
            "each output: end in a linear layer or a pool over the whole map"
        )
    nodes = _with_dense_ends(list(drawing.nodes.values()), dense)
    name = re.sub(r"\W", "_", program.name, flags=re.ASCII).lstrip("-.") or "network"
    graph = Graph(name, drawing.shapes[INPUT], nodes, (output.tensor,))
    return graph, {row.name: drawing.arrays[row.name] for row in graph.parameter_table}


def draw(drawing: Drawing) -> Value:
    """Fill an empty drawing with its program's calls; what the program gives.

    Raises:
        UnsupportedModuleError: see :func:`read_program`.
    """
    program = drawing.program
    shape = input_shape(program)
    whole = lifted(shape)
    assert whole is not None
    drawing.shapes[INPUT] = whole
    drawing.values[program.input] = Value(INPUT, shape, program.input)
    for call, (_, value) in program.constants.items():
        drawing.values[call] = value
    output: Value | None = None
    for call in program.calls:
        if call.op == "output":
            output = _output(call, drawing)
        elif call.op not in ("placeholder", "get_attr"):
            found = _read(call, drawing)
            if found is not None:
                drawing.values[call] = found
    assert output is not None
    return output


def _read(call: fx.Node, drawing: Drawing) -> Value | Tensor | None:
    name = "getitem" if call.target is operator.getitem else operation(call)
    if not call.users and "assert" in name:
        return None
    if name in drawing.special:
        return drawing.special[name](call, arguments(call), drawing)
    inputs = [drawing.values.get(one) for one in call.all_input_nodes]
    draws = torch.Tag.nondeterministic_seeded in getattr(call.target, "tags", ())
    if not draws and all(isinstance(one, Tensor) for one in inputs):
        return _computed(call, drawing)
    if writes(call) and is_harmless(call):
        name = name.removesuffix("_")
    if name not in READERS:
        raise refusal(call, reason(name))
    return READERS[name](call, arguments(call), drawing)


def _computed(call: fx.Node, drawing: Drawing) -> Tensor:
    """What constants alone give, such as a pruned weight: ``weight_orig * weight_mask``."""
    if not callable(call.target):
        raise refusal(call, "it cannot be computed in advance")
    held: Any = drawing.values  # constants, all of them
    args, kwargs = fx.map_arg((call.args, call.kwargs), held.__getitem__)
    with torch.no_grad():
        value = call.target(*args, **kwargs)
    if not isinstance(value, Tensor):
        raise refusal(call, "it gives no tensor")
    return value


def arguments(call: fx.Node) -> Mapping[str, Any]:
    """Of a call by name, defaults filled in."""
    schema = getattr(call.target, "_schema", None)
    if schema is None:
        return dict(call.kwargs)
    found = {one.name: one.default_value for one in schema.arguments if one.has_default_value()}
    found |= dict(zip((one.name for one in schema.arguments), call.args, strict=False))
    return {**found, **call.kwargs}


def _output(call: fx.Node, drawing: Drawing) -> Value:
    (given,) = call.args
    outputs = list(given) if isinstance(given, tuple | list) else [given]
    if len(outputs) != 1:
        raise UnsupportedModuleError(
            f"{drawing.program.name} gives {len(outputs)} outputs; a network gives one tensor: "
            "return that alone"
        )
    value = drawing.values.get(outputs[0]) if isinstance(outputs[0], fx.Node) else None
    if not isinstance(value, Value):
        raise UnsupportedModuleError(
            f"{drawing.program.name} gives a constant; its output must be computed from its input"
        )
    return value


def _with_dense_ends(nodes: list[Node], dense: Sequence[str] | None) -> tuple[Node, ...]:
    layers = [node.name for node in nodes if isinstance(node, Conv | Linear) and node.prunable]
    if dense is None:
        dense = [layers[0], layers[-1]] if len(layers) > FEW else []
    for name in dense:
        if name not in layers:
            raise UnsupportedModuleError(
                f"there is no layer {name!r} to keep dense; there are {', '.join(layers)}"
            )
    return tuple(
        replace(node, prunable=False)
        if isinstance(node, Conv | Linear) and node.name in dense
        else node
        for node in nodes
    )
