"""Putting small trained layers beside a frozen network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import gcd

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node, Pool, Upsample
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats

MOST_STAGES = 6
"""Side modules at most, as Rep-Net has."""


def stages(graph: Graph) -> tuple[tuple[str, str], ...]:
    """(tensor read, tensor made) of each stage: between maps that all later nodes depend on.

    >>> from fedtiny.models import resnet8
    >>> stages(resnet8((1, 28, 28), 10))[1:3]
    (('stem', 'stage1.add'), ('stage1.add', 'stage2.add'))
    """
    order = {node.name: i for i, node in enumerate(graph.nodes)} | {INPUT: -1}
    cuts = [
        node.name
        for i, node in enumerate(graph.nodes)
        if isinstance(node, Conv | Add)
        and all(order[name] >= i for later in graph.nodes[i + 1 :] for name in later.inputs)
    ]
    pairs = list(zip([INPUT, *cuts[:-1]], cuts, strict=True))
    step = -(-len(pairs) // MOST_STAGES)
    return tuple(pairs[::step])


@dataclass(frozen=True, slots=True)
class Ends:
    """What a branch lies between.

    Attributes:
        source: tensor that it reads, perhaps of a new node.
        shaped: tensor of the backbone of that shape.
        target: tensor of the backbone whose shape the result has.
    """

    source: str
    shaped: str
    target: str


@dataclass(slots=True)
class Surgery:
    """A graph that grows, and the new layers' parameters.

    Attributes:
        graph, model: a folded network.
        seed: of the new layers' weights.
        nodes: so far.
        dense: parameters of new layers.
        trained: names of these.
    """

    graph: Graph
    model: SparseModel
    seed: int
    nodes: list[Node] = field(default_factory=list)
    dense: dict[str, Floats] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)

    def add(self, node: Node, zeros: Sequence[ParameterKind] = ()) -> str:
        """Append a trained node; what is of the kinds ``zeros`` starts at 0, weights He-normal."""
        self.nodes.append(node)
        draw = rng(self.seed, f"adapt {node.name}")
        for row in node.parameters:
            value = row.initial(draw)
            self.dense[row.name] = np.zeros_like(value) if row.kind in zeros else value
            self.trained.append(row.name)
        return node.name

    def module(self, name: str, ends: Ends, middle: int, shrink: int) -> str:
        """A branch beside a part of the backbone, 0 at the start; the name of its result.

        Average pooling to ``1 / shrink`` of the target's size, a grouped 3-tap convolution to
        ``middle`` channels with ReLU, a 1×1 convolution whose weights start at 0, upsampling.
        """
        shapes = self.graph.shapes
        (channels, *size), (outputs, *wanted) = shapes[ends.shaped], shapes[ends.target]
        kernel = (
            max(1, size[0] // max(1, wanted[0] // shrink)),
            max(1, size[1] // max(1, wanted[1] // shrink)),
        )
        small = self.add(Pool(f"{name}.pool", ends.source, "avg", kernel))
        mixed = self.add(mixing(f"{name}.mix", small, channels, middle, size[0] > 1))
        out = self.add(spread(f"{name}.out", mixed, middle, outputs), [ParameterKind.WEIGHT])
        return self.add(Upsample(f"{name}.up", out, (wanted[0], wanted[1])))

    def finish(self, name: str, also: Sequence[str]) -> tuple[Graph, SparseModel, tuple[str, ...]]:
        """Graph, model, and names of all that is trained: the new parameters and ``also``."""
        nodes = tuple(self.nodes)
        graph = Graph(name, self.graph.input_shape, nodes, self.graph.outputs, self.graph.loss)
        both = {**self.model.dense, **self.dense}
        ordered = {row.name: both[row.name] for row in graph.parameter_table if row.name in both}
        trained = tuple(dict.fromkeys([*self.trained, *also]))
        return graph, SparseModel(self.model.weights, ordered), trained


def mixing(name: str, source: str, channels: int, outputs: int, tall: bool) -> Conv:
    """A grouped convolution of 3 taps along each axis that is longer than 1, with ReLU."""
    return Conv(
        name, source, channels, outputs, (3 if tall else 1, 3), (1, 1), (int(tall), 1),
        groups=gcd(channels, outputs, 8), batch_norm=False, prunable=False,
    )  # fmt: skip


def spread(name: str, source: str, channels: int, outputs: int) -> Conv:
    """A 1×1 convolution without activation."""
    return Conv(
        name, source, channels, outputs, (1, 1), batch_norm=False, activation=Activation.NONE,
        prunable=False,
    )  # fmt: skip


def reading(node: Node, names: dict[str, str]) -> Node:
    """``node`` reading other tensors in the place of those that ``names`` maps."""
    if isinstance(node, Add):
        return replace(
            node, left=names.get(node.left, node.left), right=names.get(node.right, node.right)
        )
    if isinstance(node, Conv | Linear | Pool | Upsample):
        return replace(node, input=names.get(node.input, node.input))
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
