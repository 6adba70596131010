"""One static block of RAM for every tensor and scratch buffer, shared wherever lifetimes allow.

A buffer lives from the step that writes it to the last step that reads it. An addition whose
operand nobody reads later writes over that operand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fedtiny.models.graph import INPUT
from fedtiny.quant.integer_model import IntegerAdd, IntegerGraph

ALIGNMENT = 8
"""Bytes; every offset is a multiple, as kernels ask of their scratch."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes needed from step ``first`` to step ``last``, both included."""

    name: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Arena:
    """Where everything lies.

    Attributes:
        offsets: byte offset by tensor name; scratch is called ``"{node} scratch"``.
        nbytes: of the whole block.
        live_bytes: by step, the bytes alive while it runs. No arena is smaller than the largest.
    """

    offsets: Mapping[str, int]
    nbytes: int
    live_bytes: tuple[int, ...]


def scratch_name(node: str) -> str:
    """Name of the node's scratch buffer in :class:`Arena`."""
    return f"{node} scratch"


def plan_arena(model: IntegerGraph, scratch_bytes: Mapping[str, int]) -> Arena:
    """Place all tensors of ``model`` and the nodes' scratch buffers.

    Args:
        model: the integer model.
        scratch_bytes: by node name; nodes not named need none.
    """
    buffers, aliases = _tensor_buffers(model)
    for step, node in enumerate(model.nodes):
        nbytes = scratch_bytes.get(node.name, 0)
        if nbytes:
            buffers.append(Buffer(scratch_name(node.name), nbytes, step, step))
    offsets, total = place(buffers)
    live = tuple(
        sum(_aligned(b.nbytes) for b in buffers if b.first <= step <= b.last)
        for step in range(len(model.nodes))
    )
    return Arena(offsets | {name: offsets[owner] for name, owner in aliases.items()}, total, live)


def place(buffers: Iterable[Buffer]) -> tuple[dict[str, int], int]:
    """Offsets by name, and the bytes they span.

    First fit, tried largest first and in order of appearance; the smaller result is taken. Two
    buffers alive at one step never overlap.

    >>> place([Buffer("a", 8, 0, 1), Buffer("b", 8, 1, 2), Buffer("c", 8, 2, 3)])
    ({'a': 0, 'b': 8, 'c': 0}, 16)
    """
    listed = list(buffers)
    by_size = sorted(listed, key=lambda b: (-b.nbytes, b.first, b.name))
    by_time = sorted(listed, key=lambda b: (b.first, -b.nbytes, b.name))
    return min((_first_fit(by_size), _first_fit(by_time)), key=lambda placed: placed[1])


def _first_fit(buffers: Sequence[Buffer]) -> tuple[dict[str, int], int]:
    offsets: dict[str, int] = {}
    placed: list[Buffer] = []
    total = 0
    for buffer in buffers:
        neighbours = sorted(
            (offsets[other.name], _aligned(other.nbytes)) for other in placed if buffer.meets(other)
        )
        offset = 0
        for start, nbytes in neighbours:
            if offset + _aligned(buffer.nbytes) <= start:
                break
            offset = max(offset, start + nbytes)
        offsets[buffer.name] = offset
        placed.append(buffer)
        total = max(total, offset + _aligned(buffer.nbytes))
    return offsets, total


def _tensor_buffers(model: IntegerGraph) -> tuple[list[Buffer], dict[str, str]]:
    """One buffer per tensor with memory of its own; the others by the name of their owner."""
    last_read = {name: step for step, node in enumerate(model.nodes) for name in node.inputs}
    last_read[model.logits] = len(model.nodes)
    buffers = {INPUT: Buffer(INPUT, model.input.nbytes, 0, last_read[INPUT])}
    aliases: dict[str, str] = {}
    for step, node in enumerate(model.nodes):
        last = last_read.get(node.name, step)
        if isinstance(node, IntegerAdd):
            owners = [aliases.get(name, name) for name in node.inputs]
            dying = [owner for owner in owners if buffers[owner].last == step]
            if dying:
                aliases[node.name] = dying[0]
                buffers[dying[0]] = replace(buffers[dying[0]], last=last)
                continue
        buffers[node.name] = Buffer(node.name, model.activations[node.name].nbytes, step, last)
    return list(buffers.values()), aliases


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
