"""A program: ordered steps over named buffers, placed in one workspace, lowered to C structs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from fedtiny.engine import abi
from fedtiny.engine.abi import Kind
from fedtiny.engine.narrow import NarrowBuffer
from fedtiny.memory.arena import Buffer, aligned, peak, place
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models.ops import Activation, Shape


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a tensor that is recomputed where it is read.

    Attributes:
        data: what is stored: a convolution's output, a pooled map, the batch.
        norm: layer whose batch-norm coefficients apply, or None.
        activation: of the summand, before it is added.
        sum_activation: of the sum, after it was added.
        packed: what ``data``, of one block of samples, is expanded from; None if it is whole.
        capacity: values kept per map of ``packed``.
    """

    data: Buffer
    norm: str | None = None
    activation: Activation = Activation.NONE
    sum_activation: Activation = Activation.NONE
    packed: Buffer | None = None
    capacity: int = 0

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """What it reads."""
        return (self.data,) if self.packed is None else (self.data, self.packed)


Terms = tuple[Term, ...]


@dataclass(slots=True)
class Step:
    """One op before addresses are known.

    Attributes:
        kind: what it does.
        node: graph node it belongs to.
        layer: layer whose weights or coefficients it uses, or None.
        shape: (C, H, W) of the tensor it reads.
        terms: the tensor it reads, as summands.
        input, out, scratch, sums, weights: see ``Op`` in engine.h.
        activation: that the gradient passes, or whose gates are kept; ``terms`` are its argument.
        numbers: further integer fields of ``Op`` by name.
    """

    kind: Kind
    node: str
    layer: str | None = None
    shape: Shape = (0, 0, 0)
    terms: Terms = ()
    input: Buffer | None = None
    out: Buffer | None = None
    scratch: Buffer | None = None
    sums: Buffer | None = None
    weights: Buffer | None = None
    activation: Activation = Activation.NONE
    numbers: dict[str, int] = field(default_factory=dict)
    extra: dict[str, Buffer] = field(default_factory=dict)

    def buffers(self) -> list[Buffer]:
        """Everything the step touches."""
        named = (self.input, self.out, self.scratch, self.sums, self.weights)
        present = [buffer for buffer in (*named, *self.extra.values()) if buffer is not None]
        return present + [buffer for term in self.terms for buffer in term.buffers]


@dataclass(frozen=True)
class Program:
    """Steps whose buffers have their places.

    Attributes:
        steps: in execution order.
        workspace_bytes: memory they need in all.
        buffers: that are used.
        saved_bytes: of the buffers that outlive the loss: what the forward pass leaves for the
            backward pass.
    """

    steps: tuple[Step, ...]
    workspace_bytes: int
    buffers: tuple[Buffer, ...]
    saved_bytes: int = 0

    @cached_property
    def lines(self) -> dict[LedgerLine, int]:
        """Bytes of the workspace by ledger line, at the step where most is alive."""
        return peak(self.buffers, self.workspace_bytes, abi.ALIGNMENT_BYTES)

    @classmethod
    def of(cls, steps: list[Step], results: Sequence[Buffer] = ()) -> Program:
        """Plan the buffers of ``steps`` by liveness; ``results`` keep their memory throughout."""
        buffers: dict[int, Buffer] = {}
        for index, step in enumerate(steps):
            for buffer in step.buffers():
                buffer.use(index)
                buffers[id(buffer)] = buffer
        for buffer in results:
            buffer.first, buffer.last = 0, len(steps) - 1
        used = tuple(buffers.values())
        saved = sum(aligned(one.nbytes, abi.ALIGNMENT_BYTES) for one in _saved(steps, used))
        return cls(tuple(steps), place(used, abi.ALIGNMENT_BYTES), used, saved)

    def lower(self, workspace: int, layers: Mapping[str, abi.Layer]) -> ctypes.Array[abi.Op]:
        """The C ops, with the workspace at address ``workspace`` and layers at theirs."""
        ops = abi.zeroed(abi.Op * len(self.steps))
        for op, step in zip(ops, self.steps, strict=True):
            _lower(op, step, workspace, layers)
        return ops


def _saved(steps: Sequence[Step], held: Sequence[Buffer]) -> list[Buffer]:
    """The buffers that the backward pass still reads; outputs that it does not are temporaries."""
    loss = next((i for i, step in enumerate(steps) if step.kind is Kind.LOSS), len(steps))
    for buffer in held:
        if buffer.line is LedgerLine.SAVED_ACTIVATIONS and buffer.last <= loss:
            buffer.line = LedgerLine.TEMPORARIES
    return [buffer for buffer in held if buffer.first < loss < buffer.last]


def _lower(op: abi.Op, step: Step, workspace: int, layers: Mapping[str, abi.Layer]) -> None:
    op.kind = step.kind
    op.layer = ctypes.addressof(layers[step.layer]) if step.layer else 0
    op.channels, op.height, op.width = step.shape
    op.terms = len(step.terms)
    op.activation = abi.Activation[step.activation.name]
    for target, term in zip(op.term, step.terms, strict=False):
        target.data = workspace + term.data.offset
        if term.norm:
            layer = layers[term.norm]
            target.mean, target.scale, target.beta = layer.mean, layer.scale, layer.beta
        target.activation = abi.Activation[term.activation.name]
        target.sum_activation = abi.Activation[term.sum_activation.name]
        target.narrow = isinstance(term.data, NarrowBuffer)
        if term.packed:
            target.packed, target.capacity = workspace + term.packed.offset, term.capacity
    for name in ("input", "out", "scratch", "sums", "weights"):
        buffer = getattr(step, name)
        setattr(op, name, workspace + buffer.offset if buffer else 0)
    op.narrow_input, op.narrow_out, op.narrow_tile = (
        isinstance(buffer, NarrowBuffer) for buffer in (step.input, step.out, step.scratch)
    )
    for name, buffer in step.extra.items():
        setattr(op, name, workspace + buffer.offset)
    for name, value in step.numbers.items():
        setattr(op, name, value)


def join(left: Terms, right: Terms, activation: Activation) -> Terms | None:
    """The summands of ``left + right``, or None if they cannot be one flat sum.

    A sum's activation applies to everything before it, so only one side may have several terms.
    """
    if len(left) > 1 and len(right) > 1:
        return None
    several, single = (right, left) if len(right) > 1 else (left, right)
    if len(several) + 1 > abi.MAX_TERMS:
        return None
    return (*several, replace(single[0], sum_activation=activation))


def before_activation(terms: Terms) -> Terms:
    """What a node's activation is applied to, given how its result is read."""
    *earlier, last = terms
    if earlier:
        return (*earlier, replace(last, sum_activation=Activation.NONE))
    return (replace(last, activation=Activation.NONE),)
