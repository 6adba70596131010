"""The training plan: programs and memory of one model, one mask, one micro-batch.

Compiling needs neither the library nor the weights' values, so a planner can ask what a device
would need before anything is sent to it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from fedtiny.engine import abi
from fedtiny.engine.abi import Kind
from fedtiny.engine.backward import Backward
from fedtiny.engine.forward import Forward
from fedtiny.engine.layout import Layout
from fedtiny.engine.library import EngineError
from fedtiny.engine.options import EngineOptions
from fedtiny.engine.program import Program, Step
from fedtiny.engine.state import state_items
from fedtiny.memory.arena import Buffer
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Activation, Conv, Linear, Node
from fedtiny.sparse.tensor import Mask

_FIXED_BYTES = 2 * abi.ALIGNMENT_BYTES + 2 * 8
"""To align state and workspace; a sum of losses and a count of correct predictions."""

GROWTH_TILE_WEIGHTS = 65_536
"""Absent weights whose gradients are held at once (more where one output channel has more)."""


class Which(StrEnum):
    """The programs every plan has."""

    TRAIN = "train"
    EVALUATE = "evaluate"


@dataclass(frozen=True)
class Growth:
    """A growth program and where its results are.

    Attributes:
        program: forward, loss and the backward pass down to the earliest grown layer.
        steps: the step of each grown layer.
        capacity: absent weights of one tile, by layer.
    """

    program: Program
    steps: Mapping[str, Step]
    capacity: Mapping[str, int]


@dataclass(frozen=True)
class Ranges:
    """An observing program and where its results are.

    Attributes:
        program: the forward pass of an evaluation.
        extremes: the smallest and the largest value of each observed tensor, by its name.
    """

    program: Program
    extremes: Mapping[str, Buffer]


class Plan:
    """Programs over one static workspace, and the bytes of everything.

    Args:
        layout: sizes and choices.
        quotas: weights to grow by layer name; their buffers are then part of the plan.

    Raises:
        EngineError: the logits are not those of a linear layer without activation that no other
            node reads, a node asks for what the engine cannot do, or a mask is missing.
    """

    def __init__(self, layout: Layout, quotas: Mapping[str, int] | None = None) -> None:
        _check(layout)
        self.layout = layout
        self.quotas = dict(quotas or {})
        if quotas and layout.is_frozen:
            raise EngineError("weights grow where all parameters are trained; freeze none")
        train = Forward(layout, training=True)
        Backward(train)
        evaluate = Forward(layout)
        evaluate.steps.append(_loss_step(evaluate))
        self.programs = {
            Which.TRAIN: Program.of(train.steps),
            Which.EVALUATE: Program.of(evaluate.steps),
        }
        self.logits = evaluate.stored[layout.graph.logits]
        self.growth = compile_growth(layout, self.quotas) if quotas else None
        self.ranges = compile_ranges(layout)

    @cached_property
    def lines(self) -> dict[LedgerLine, int]:
        """Bytes by ledger line; the programs' own op tables count as temporaries."""
        lines = dict.fromkeys(LedgerLine, 0)
        for item in state_items(self.layout).values():
            lines[item.line] += item.nbytes
        programs = [*self.programs.values()] + ([self.growth.program] if self.growth else [])
        for line, nbytes in self._largest.lines.items():
            lines[line] += nbytes
        ops = sum(len(program.steps) for program in programs) * ctypes.sizeof(abi.Op)
        layers = len(self.layout.graph.layers) * ctypes.sizeof(abi.Layer)
        lines[LedgerLine.TEMPORARIES] += ops + layers + _FIXED_BYTES
        return lines

    @cached_property
    def saved_bytes(self) -> int:
        """Bytes that a forward pass leaves for the backward pass, batch norms' coefficients too."""
        items = state_items(self.layout).values()
        coefficients = sum(i.nbytes for i in items if i.line is LedgerLine.SAVED_ACTIVATIONS)
        return self.programs[Which.TRAIN].saved_bytes + coefficients

    @property
    def arena_bytes(self) -> int:
        """Bytes of state, workspace and op tables: the peak of a training step."""
        return sum(self.lines.values())

    @property
    def workspace_bytes(self) -> int:
        """Bytes of the workspace alone."""
        return self._largest.workspace_bytes

    @property
    def _largest(self) -> Program:
        """Of all programs the one whose workspace is the largest."""
        grown = [self.growth.program] if self.growth else []
        programs = [*self.programs.values(), *grown, self.ranges.program]
        return max(programs, key=lambda program: program.workspace_bytes)


def plan(
    graph: Graph,
    masks: Mapping[str, Mask],
    options: EngineOptions,
    quotas: Mapping[str, int] | None = None,
) -> Plan:
    """The plan of training ``graph`` under ``masks`` (of the prunable layers, by name).

    Args:
        graph: the model.
        masks: where the weights will be.
        options: for which the plan is made.
        quotas: weights to grow, by layer name.

    >>> import numpy as np
    >>> from fedtiny.models import build
    >>> graph = build("smartwatch_cnn", (6, 1, 128), 7)
    >>> masks = {l.name: Mask(l.weight_shape, np.arange(99, dtype=np.int32))
    ...          for l in graph.prunable_layers}
    >>> plan(graph, masks, EngineOptions(micro_batch=8)).arena_bytes < 2**20
    True
    """
    return Plan(Layout(graph, masks, options), quotas)


def compile_growth(
    layout: Layout, quotas: Mapping[str, int], capacity: int = GROWTH_TILE_WEIGHTS
) -> Growth:
    """The program that finds, for each layer of ``quotas``, its largest absent gradients."""
    forward = Forward(layout, training=True)
    backward = Backward(forward, tuple(quotas))
    results: list[Buffer] = []
    capacities = {}
    for name, step in backward.growth_steps.items():
        geometry = layout.geometries[name]
        everything = geometry.row_weights * geometry.out_channels
        capacities[name] = min(max(capacity, geometry.row_weights), everything)
        _add_growth_buffers(step, layout, name, quotas[name], capacities[name])
        results += [
            step.extra[key] for key in ("top_index", "top_value", "top_count", "absent_grad")
        ]
    return Growth(Program.of(forward.steps, results), backward.growth_steps, capacities)


def _add_growth_buffers(step: Step, layout: Layout, name: str, quota: int, capacity: int) -> None:
    # the starts of a tile's channels stand behind its offsets
    starts = layout.geometries[name].out_channels + 1
    sizes = {
        "top_index": 4 * quota,
        "top_value": layout.reals(quota),
        "top_count": 8,
        "absent_grad": layout.reals(capacity),
        "absent_offset": 4 * (capacity + starts),
    }
    step.extra = {
        key: Buffer(f"{name} {key}", nbytes, LedgerLine.TOP_K) for key, nbytes in sizes.items()
    }
    step.numbers |= {"top_k": quota, "capacity": capacity}


def compile_ranges(layout: Layout) -> Ranges:
    """The program that finds every tensor's extremes."""
    forward = Forward(layout, ranges=True)
    return Ranges(Program.of(forward.steps, list(forward.ranges.values())), forward.ranges)


def _loss_step(forward: Forward) -> Step:
    graph = forward.layout.graph
    logits = graph.logits
    return Step(Kind.LOSS, logits, shape=graph.shapes[logits], input=forward.stored[logits])


def _check(layout: Layout) -> None:
    graph = layout.graph
    for node in graph.nodes:
        _check_node(graph, node)
    _check_options(layout.options)
    if layout.is_frozen:
        _check_frozen(layout)
    for layer in graph.prunable_layers:
        if layer.name not in layout.masks:
            raise EngineError(f"no mask for layer {layer.name!r}")
        if layout.masks[layer.name].shape != layer.weight_shape:
            raise EngineError(
                f"layer {layer.name!r}: mask of shape {layout.masks[layer.name].shape}, "
                f"weights of shape {layer.weight_shape}"
            )


def _check_node(graph: Graph, node: Node) -> None:
    if node.name == graph.logits:
        normed = isinstance(node, Conv) and node.batch_norm
        layer = isinstance(node, Conv | Linear) and not normed
        plain = layer and node.activation is Activation.NONE
        if not plain or graph.consumers[node.name]:
            raise EngineError(
                f"{graph.name}: the engine wants logits from a linear layer (or a convolution "
                "without batch norm) without activation that no other node reads, not from "
                f"{node.name!r}"
            )


def _check_frozen(layout: Layout) -> None:
    """What is frozen must be so in a way that the backward pass can follow."""
    unknown = set(layout.options.trained or ()) - {row.name for row in layout.graph.parameters}
    if unknown:
        raise EngineError(f"no parameter is called {min(unknown)!r}, so it cannot be trained")
    if not layout.trained:
        raise EngineError(f"{layout.graph.name}: nothing is to be trained; name a parameter")
    for conv in layout.graph.batch_norms:
        names = {row.name for row in conv.parameters if not row.kind.is_statistic}
        if not names <= layout.trained:
            raise EngineError(
                f"layer {conv.name!r} is not to be trained but has a batch norm, whose statistics "
                "would follow the data; fold it into the weights (fedtiny.adapt.folding) or set "
                'training.engine = "torch"'
            )
    options = layout.options
    if options.recompute or options.activation_density < 1:
        raise EngineError(
            "where parameters are frozen nothing is recomputed or pruned: leave recompute empty "
            "and activation_density at 1"
        )


def _check_options(options: EngineOptions) -> None:
    if options.micro_batch < 1:
        raise EngineError(f"micro_batch must be at least 1, not {options.micro_batch}")
    if not 0 < options.activation_density <= 1:
        raise EngineError(
            f"activation_density must lie in (0, 1], not {options.activation_density}"
        )
    if options.activation_bits not in (16, 32):
        raise EngineError(f"activation_bits must be 32 or 16, not {options.activation_bits}")
    if options.activation_bits == 16 and options.activation_density < 1:
        raise EngineError(
            "activations are pruned in 32 bits: leave activation_bits at 32, or "
            "activation_density at 1"
        )
    if options.recompute and options.activation_density < 1:
        raise EngineError(
            "outputs are recomputed from whole inputs: leave recompute empty, or "
            "activation_density at 1"
        )
