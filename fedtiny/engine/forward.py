"""Compiles the forward pass: one step per fused node, sums only where several nodes read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fedtiny.engine import abi, activations, frozen, narrow
from fedtiny.engine.abi import Kind
from fedtiny.engine.layout import Layout
from fedtiny.engine.program import Step, Term, Terms, before_activation, join
from fedtiny.memory.arena import Buffer, aligned
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models.op_table import UnsupportedOpError
from fedtiny.models.ops import INPUT, Activation, Add, Concat, Conv, Linear, Node, Pool, Upsample

_SAVED = LedgerLine.SAVED_ACTIVATIONS


class Forward:
    """Builds forward steps and remembers how each tensor can be read.

    Attributes:
        steps: the program so far.
        values: how to read each tensor right now.
        saved: how to read it again in the backward pass, from what is stored anyway.
        stored: every layer's stored output.
        packed: the pruned copy that replaces it until the backward pass reads it, by layer.
        gates: where the clamp of a tensor of pruned outputs let through, by node.
        ranges: where the extremes of each observed tensor are found, by its name.
        narrow: layers whose stored output is bfloat16.
    """

    def __init__(self, layout: Layout, *, ranges: bool = False, training: bool = False) -> None:
        """Start with the batch, go through the nodes.

        Args:
            layout: of the plan.
            ranges: add a step per tensor that finds its extremes.
            training: a backward pass will follow: keep what it reads pruned or in 16 bits, if the
                layout says so.
        """
        self.layout = layout
        self.steps: list[Step] = []
        self.stored: dict[str, Buffer] = {}
        self.packed: dict[str, Buffer] = {}
        self.gates: dict[str, Buffer] = {}
        self._pruned = activations.pruned_layers(layout) if training else ()
        self.narrow = narrow.narrow_layers(layout) if training else frozenset()
        graph = layout.graph
        batch = Buffer("batch", layout.map_bytes(graph.input_shape), LedgerLine.BATCH)
        self.steps.append(Step(Kind.LOAD, INPUT, shape=graph.input_shape, out=batch))
        self.values: dict[str, Terms] = {INPUT: (Term(batch),)}
        self.saved: dict[str, Terms] = dict(self.values)
        self.ranges: dict[str, Buffer] = {}
        if ranges:
            self._add_range(INPUT, INPUT, self.values[INPUT])
        for node in graph.nodes:
            self._add(node)
            self._add_gate(node)
            if ranges:
                self._add_ranges(node)
        for name in self._pruned:
            self._add_packed(name)
        if training and layout.is_frozen:
            for node in frozen.gated(layout, self.saved):
                self._insert_gate(node)

    def _add(self, node: Node) -> None:
        BUILDERS[type(node)](self, node)

    def add_layer(self, node: Conv | Linear) -> None:
        """Append a layer's steps; its output is stored as it comes from the convolution."""
        nbytes = self.layout.map_bytes(self.layout.graph.shapes[node.name])
        out = self.buffer(node.name, node.name, nbytes, _SAVED)
        self.steps.append(self.convolution(Kind.CONV, node, self.values[node.input], out))
        norm = node.name if isinstance(node, Conv) and node.batch_norm else None
        self.stored[node.name] = out
        term = Term(out, norm, node.activation)
        self.values[node.name] = self.saved[node.name] = (term,)

    def convolution(self, kind: Kind, node: Conv | Linear, terms: Terms, out: Buffer) -> Step:
        """The step that computes a layer's stored output from ``terms``."""
        layout = self.layout
        channels = layout.geometries[node.name].out_channels
        sums = Buffer(f"{node.name} sums", layout.reals(layout.blocks * 32 * channels))
        shape = layout.graph.shapes[node.input]
        step = Step(
            kind, node.name, node.name, shape, terms, out=out, sums=sums,
            weights=scattered(layout, node.name),
        )  # fmt: skip
        self.add_tile(step, layout.tile_bytes_of(node.name))
        return step

    def add_tile(self, step: Step, nbytes: int) -> None:
        """Give a step its layer's padded tile of ``nbytes`` at full width, or each thread one."""
        layer = step.node
        step.scratch = self.buffer(layer, f"{layer} tile", nbytes)
        if self.layout.has_own_tiles(layer):
            each = aligned(step.scratch.nbytes, abi.ALIGNMENT_BYTES)
            step.numbers["tile_bytes"] = each
            step.scratch.nbytes = self.layout.options.threads * each

    def buffer(
        self, layer: str, name: str, nbytes: int, line: LedgerLine = LedgerLine.TEMPORARIES
    ) -> Buffer:
        """Room for the layer's stored output or padded tile, given its bytes at full width."""
        return narrow.buffer(self.layout, name, nbytes, line, narrow=layer in self.narrow)

    def add_sum(self, node: Add) -> None:
        """Append an addition's steps, if it needs any."""
        # Read by several nodes, a sum is stored while the forward pass needs it; the backward pass
        # recomputes it from the convolutions' outputs unless the chain of summands is too long.
        # What is stored is the argument of the activation: not all gradients follow from results.
        terms = join(self.values[node.left], self.values[node.right], node.activation)
        again = join(self.saved[node.left], self.saved[node.right], node.activation)
        several = len(self.layout.graph.consumers[node.name]) > 1
        if terms is not None and again is not None and not several:
            self.values[node.name], self.saved[node.name] = terms, again
            return
        linear = before_activation(terms or self._stored_sides(node))
        out = Term(self._store(node.name, linear, _SAVED), activation=node.activation)
        self.values[node.name] = (out,)
        self.saved[node.name] = again or (out,)

    def _stored_sides(self, node: Add) -> Terms:
        """The two summands after storing each side that is itself a sum."""
        sides = []
        for name in node.inputs:
            terms = self.values[name]
            if len(terms) > 1:
                terms = (Term(self._store(name, terms, LedgerLine.TEMPORARIES)),)
            sides.append(terms)
        joined = join(sides[0], sides[1], node.activation)
        assert joined is not None  # two single summands always join
        return joined

    def _store(self, name: str, terms: Terms, line: LedgerLine) -> Buffer:
        shape = self.layout.graph.shapes[name]
        out = Buffer(name, self.layout.map_bytes(shape), line)
        self.steps.append(Step(Kind.SUM, name, shape=shape, terms=terms, out=out))
        return out

    def add_pool(self, node: Pool) -> None:
        """Append a pooling's step."""
        shapes = self.layout.graph.shapes
        out = Buffer(node.name, self.layout.map_bytes(shapes[node.name]), _SAVED)
        self.steps.append(pooling(Kind.POOL, self.layout, node, self.values[node.input], out=out))
        self.values[node.name] = self.saved[node.name] = (Term(out),)

    def add_upsampling(self, node: Upsample) -> None:
        """Append the step that makes a map larger."""
        layout, shapes = self.layout, self.layout.graph.shapes
        out = Buffer(node.name, layout.map_bytes(shapes[node.name]), _SAVED)
        step = upsampling(Kind.UPSAMPLE, layout, node, out)
        step.terms = self.values[node.input]
        rows = layout.options.threads * shapes[node.input][2] * layout.lanes
        step.scratch = Buffer(f"{node.name} rows", layout.reals(rows))
        self.steps.append(step)
        self.values[node.name] = self.saved[node.name] = (Term(out),)

    def refuse_concat(self, node: Concat) -> None:
        """Say that PyTorch must train it."""
        raise UnsupportedOpError(
            f"node {node.name!r}: the sparse engine recomputes tensors as sums where they are "
            "read, and joined channels are no sum; set training.engine = 'torch', or add the "
            "branches"
        )

    def _add_gate(self, node: Node) -> None:
        if node.activation is Activation.NONE:
            return
        pruned = [self.stored[name] for name in self._pruned if name in self.stored]
        if not any(term.data is data for term in self.saved[node.name] for data in pruned):
            return
        self.steps.append(self.gate(node))

    def _insert_gate(self, node: Node) -> None:
        """Keep the gates of a clamp as soon as what it is applied to has been computed."""
        step = self.gate(node)
        sources = frozen.data(step.terms)
        made = max(i for i, other in enumerate(self.steps) if id(other.out) in sources)
        self.steps.insert(made + 1, step)

    def gate(self, node: Node) -> Step:
        """The step that keeps a bit for every value that the node's clamp lets through."""
        shape = self.layout.graph.shapes[node.name]
        nbytes = activations.gate_bytes(self.layout, shape)
        out = self.gates[node.name] = Buffer(f"{node.name} gates", nbytes, _SAVED)
        terms = before_activation(self.values[node.name])
        step = Step(Kind.GATE, node.name, shape=shape, terms=terms, out=out)
        step.activation = node.activation
        return step

    def _add_packed(self, name: str) -> None:
        """Prune a layer's output as soon as the forward pass has done with it."""
        shape, stored = self.layout.graph.shapes[name], self.stored[name]
        nbytes = activations.packed_bytes(self.layout, shape)
        out = self.packed[name] = Buffer(f"{name} packed", nbytes, _SAVED)
        last = max(i for i, step in enumerate(self.steps) if stored in step.buffers())
        self.steps.insert(last + 1, self.packing(Kind.PRUNE, name, stored, out))

    def packing(self, kind: Kind, name: str, source: Buffer, out: Buffer) -> Step:
        """The step that prunes a layer's output, or expands it again."""
        shape = self.layout.graph.shapes[name]
        numbers = {"capacity": activations.capacity(self.layout, shape)}
        return Step(kind, name, name, shape, input=source, out=out, numbers=numbers)

    def unpacked(self, term: Term, name: str) -> Term:
        """``term`` read from the pruned copy of layer ``name``, through room for one block."""
        shape, nbytes = self.layout.graph.shapes[name], term.data.nbytes // self.layout.blocks
        block = Buffer(f"{name} block", nbytes)
        kept = activations.capacity(self.layout, shape)
        return replace(term, data=block, packed=self.packed[name], capacity=kept)

    def _add_ranges(self, node: Node) -> None:
        terms = self.values[node.name]
        if (linear := f"{node.name}.linear") in self.layout.graph.observed:
            self._add_range(node.name, linear, before_activation(terms))
        self._add_range(node.name, node.name, terms)

    def _add_range(self, node: str, tensor: str, terms: Terms) -> None:
        out = Buffer(f"{tensor} range", self.layout.reals(2))
        self.ranges[tensor] = out
        shape = self.layout.graph.shapes[node]
        self.steps.append(Step(Kind.RANGE, node, shape=shape, terms=terms, out=out))


BUILDERS: Mapping[type[Node], Callable[[Forward, Any], None]] = {
    Conv: Forward.add_layer,
    Linear: Forward.add_layer,
    Add: Forward.add_sum,
    Concat: Forward.refuse_concat,
    Pool: Forward.add_pool,
    Upsample: Forward.add_upsampling,
}
"""What appends each op's steps."""


def scattered(layout: Layout, layer: str) -> Buffer | None:
    """Room for all weights of a dense layer that misses some."""
    nbytes = layout.scattered_bytes(layer)
    return Buffer(f"{layer} weights", nbytes) if nbytes else None


def upsampling(kind: Kind, layout: Layout, node: Upsample, out: Buffer) -> Step:
    """An upsampling step, forward or backward."""
    shapes = layout.graph.shapes
    _, height, width = shapes[node.name]
    numbers = {"out_height": height, "out_width": width}
    return Step(kind, node.name, shape=shapes[node.input], out=out, numbers=numbers)


def pooling(
    kind: Kind, layout: Layout, node: Pool, terms: Terms, out: Buffer, grad: Buffer | None = None
) -> Step:
    """A pooling step, forward or backward."""
    shapes = layout.graph.shapes
    shape, out_shape = shapes[node.input], shapes[node.name]
    (kernel, stride), ((top, _), (left, _)) = node.window(shape), node.pads
    rows = layout.options.threads * kernel[0] * shape[2] * layout.lanes
    numbers = {
        "out_height": out_shape[1], "out_width": out_shape[2],
        "kernel_h": kernel[0], "kernel_w": kernel[1],
        "stride_h": stride[0], "stride_w": stride[1], "pad_h": top, "pad_w": left,
        "is_max": int(node.kind == "max"),
    }  # fmt: skip
    numbers_held = rows + narrow.unrounded_sums(layout, out, shape)
    scratch = Buffer(f"{node.name} rows", layout.reals(numbers_held))
    return Step(
        kind, node.name, shape=shape, terms=terms, input=grad, out=out, scratch=scratch,
        numbers=numbers,
    )  # fmt: skip
