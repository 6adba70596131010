"""One static block of RAM for every tensor and scratch buffer, shared wherever lifetimes allow.

A buffer lives from the step that writes it to the last step that reads it. An element-wise
op writes over an operand that nobody reads later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fedtiny.memory.arena import Buffer, live_bytes, place
from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import IntegerGraph

ALIGNMENT = 8
"""Bytes; every offset is a multiple, as kernels ask of their scratch."""


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


def plan_arena(
    model: IntegerGraph,
    scratch_bytes: Mapping[str, int],
    beside: Sequence[Buffer] = (),
    kept: Collection[str] = (),
) -> Arena:
    """Place all tensors of ``model`` and the nodes' scratch buffers.

    Args:
        model: the integer model.
        scratch_bytes: by node name; nodes not named need none.
        beside: further buffers, whose lives count in half steps: 2·k is step k, 2·k + 1 what is
            done between it and the next.
        kept: tensors that live to the end, whoever reads them.
    """
    buffers, aliases = _tensor_buffers(model, kept)
    for step, node in enumerate(model.nodes):
        nbytes = scratch_bytes.get(node.name, 0)
        if nbytes:
            buffers.append(Buffer(scratch_name(node.name), nbytes, first=step, last=step))
    for buffer in buffers:
        buffer.first, buffer.last = 2 * buffer.first, 2 * buffer.last
    buffers += beside
    total = place(buffers, ALIGNMENT)
    offsets = {buffer.name: buffer.offset for buffer in buffers}
    live = tuple(live_bytes(buffers, 2 * step, ALIGNMENT) for step in range(len(model.nodes)))
    return Arena(offsets | {name: offsets[owner] for name, owner in aliases.items()}, total, live)


def _tensor_buffers(
    model: IntegerGraph, kept: Collection[str]
) -> tuple[list[Buffer], dict[str, str]]:
    """One buffer per tensor with memory of its own; the others by the name of their owner."""
    last_read = {name: step for step, node in enumerate(model.nodes) for name in node.inputs}
    last_read |= dict.fromkeys((model.logits, *kept), len(model.nodes))
    buffers = {INPUT: Buffer(INPUT, model.input.nbytes, first=0, last=last_read[INPUT])}
    aliases: dict[str, str] = {}
    for step, node in enumerate(model.nodes):
        last = last_read.get(node.name, step)
        if node.elementwise:
            owners = [aliases.get(name, name) for name in node.inputs]
            dying = [owner for owner in owners if buffers[owner].last == step]
            if dying:
                aliases[node.name] = dying[0]
                buffers[dying[0]].last = last
                continue
        buffers[node.name] = Buffer(
            node.name, model.tensors[node.name].nbytes, first=step, last=last
        )
    return list(buffers.values()), aliases
