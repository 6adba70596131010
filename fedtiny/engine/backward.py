"""Compiles the backward pass.

Every tensor's gradient is one buffer. A layer's step order is: the norm gradient replaces the
layer's stored output in place; the weight gradient reads it with the recomputed input; the input
gradient is written to, or added onto, the gradient of the tensor it read. A sum hands its gradient
buffer to both sides; the way back through its activation is fused into the norm gradient of the
convolution that reads the buffer first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from fedtiny.engine import frozen, narrow
from fedtiny.engine.abi import Kind
from fedtiny.engine.forward import Forward, pooling, scattered, upsampling
from fedtiny.engine.program import Step, Terms, before_activation
from fedtiny.memory.arena import Buffer
from fedtiny.models.ops import INPUT, Activation, Add, Concat, Conv, Linear, Node, Pool, Upsample
from fedtiny.models.parameters import ParameterKind


class Backward:
    """Appends the loss and the backward pass to a forward pass.

    Args:
        forward: the pass to continue; its steps are extended.
        grow: layers whose absent weights get gradients; then no weight gradients are computed and
            the pass ends with the earliest of them.
    """

    def __init__(self, forward: Forward, grow: Collection[str] = ()) -> None:
        self.layout, self.forward, self.steps = forward.layout, forward, forward.steps
        self.graph = self.layout.graph
        self.grow = frozenset(grow)
        self.growth_steps: dict[str, Step] = {}
        self._grads: dict[str, Buffer] = {}
        self._passed: dict[str, Add] = {}
        self._again: dict[int, Buffer] = {}
        self._add_loss()
        self._needed = _needing_gradients(self)
        for node in reversed(self.graph.nodes):
            if node.name in self._grads and node.name in self._needed:
                BUILDERS[type(node)](self, node)

    def _add_loss(self) -> None:
        name = self.graph.logits
        shape = self.graph.shapes[name]
        grad = Buffer("logits gradient", self.layout.map_bytes(shape))
        logits = self.forward.stored[name]
        self.steps.append(Step(Kind.LOSS, name, shape=shape, input=logits, out=grad))
        self._grads[name] = grad

    def add_layer(self, node: Conv | Linear) -> None:
        """Append a layer's gradients: of norm, weights and input."""
        name, shape = node.name, self.graph.shapes[node.input]
        if frozen.is_plain(self.layout, node, name in self.forward.gates):
            self._add_plain(node)
            return
        stored = self._stored(node)
        passed = self._passed.pop(name, None)
        terms = self._argument(passed) if passed else ()
        numbers = {"gated": int(self._gate(node))}
        grad = self._grads.pop(name)
        step = Step(Kind.NORM_GRAD, name, name, shape, terms, grad, stored, numbers=numbers)
        step.activation = passed.activation if passed else Activation.NONE
        self.steps.append(step)
        if name in self.grow:
            self.growth_steps[name] = self._growth_step(node, stored)
            self.steps.append(self.growth_steps[name])
        self._add_conv_grad(node, stored)

    def _add_plain(self, node: Conv | Linear) -> None:
        """A layer without batch norm whose stored output is not read again."""
        self._gate(node)
        grad = self._grads[node.name]
        if self.layout.trains(node.name, ParameterKind.BIAS):
            shape = self.graph.shapes[node.name]
            self.steps.append(Step(Kind.BIAS_GRAD, node.name, node.name, shape, input=grad))
        # while others see that the buffer is still read
        self._add_conv_grad(node, grad)
        del self._grads[node.name]

    def _add_conv_grad(self, node: Conv | Linear, grad: Buffer) -> None:
        weight = not self.grow and self.layout.trains(node.name)
        if weight or node.input in self._needed:
            self.steps.append(self._conv_grad(node, grad))

    def _conv_grad(self, node: Conv | Linear, grad: Buffer) -> Step:
        layout, name = self.layout, node.name
        shape, tile_bytes = self.graph.shapes[node.input], 0
        step = Step(Kind.CONV_GRAD, name, name, shape, input=grad, weights=scattered(layout, name))
        if not self.grow and layout.trains(name):
            step.terms = self._ready(self.forward.saved[node.input])
            tile_bytes = layout.tile_bytes_of(name)
            self._add_partial(step)
        if node.input in self._needed:
            step.out, step.numbers["accumulate"] = self._target(node.input)
            tile_bytes = max(tile_bytes, layout.grad_tile_bytes_of(name))
            nbytes = layout.transposed_bytes(name)
            step.sums = Buffer(f"{name} values", nbytes)
        self.forward.add_tile(step, tile_bytes)
        return step

    def _add_partial(self, step: Step) -> None:
        """Room to sum a block's weight gradients where there are several blocks."""
        layout, name = self.layout, step.node
        if layout.blocks == 1 or layout.geometries[name].is_flat:
            return
        at_once = layout.blocks if layout.has_own_tiles(name) else 1
        partial = Buffer(f"{name} gradients", layout.reals(at_once * layout.nnz(name)))
        step.extra["partial"] = step.weights or partial

    def _growth_step(self, node: Conv | Linear, grad: Buffer) -> Step:
        terms = self._ready(self.forward.saved[node.input])
        nbytes = self.layout.tile_bytes_of(node.name)
        tile = self.forward.buffer(node.name, f"{node.name} tile", nbytes)
        shape = self.graph.shapes[node.input]
        return Step(Kind.GROW, node.name, node.name, shape, terms, grad, scratch=tile)

    def add_sum(self, node: Add) -> None:
        """Hand an addition's gradient to both sides."""
        shape = self.graph.shapes[node.name]
        if node.activation is not Activation.NONE and not self._gate(node):
            fused, grad = self._fusing(node), self._own(node.name)
            if fused is None:
                terms = self._argument(node)
                step = Step(Kind.MASK_GRAD, node.name, None, shape, terms, grad, grad)
                step.activation = node.activation
                self.steps.append(step)
            else:
                self._passed[fused.name] = node
        grad = self._grads.pop(node.name)
        for side in (node.left, node.right):
            if side not in self._needed:
                continue
            if side in self._grads:
                out = self._own(side)
                numbers = {"accumulate": 1}
                self.steps.append(
                    Step(Kind.ADD_GRAD, node.name, None, shape, (), grad, out, numbers=numbers)
                )
            else:
                self._grads[side] = grad

    def refuse_concat(self, node: Concat) -> None:
        """As the forward pass, which comes first."""
        self.forward.refuse_concat(node)

    def _gate(self, node: Conv | Linear | Add) -> bool:
        """Apply the gates kept of the node's clamp to its gradient; False if there are none."""
        gates = self.forward.gates.get(node.name)
        if gates is None:
            return False
        shape, grad = self.graph.shapes[node.name], self._own(node.name)
        self.steps.append(Step(Kind.GATE_GRAD, node.name, None, shape, (), gates, grad))
        return True

    def _fusing(self, node: Add) -> Conv | None:
        """The convolution that reads the sum's gradient first, if it can pass the activation."""
        order = {other.name: i for i, other in enumerate(self.graph.nodes)}
        sides = [side for side in (node.left, node.right) if side != INPUT]
        if any(side in self._grads for side in sides) or node.left == node.right:
            return None
        first = self.graph.nodes[max(order[side] for side in sides)]
        fits = isinstance(first, Conv) and first.batch_norm and first.activation is Activation.NONE
        if not fits or self.graph.consumers[first.name] != (node.name,):
            return None
        assert isinstance(first, Conv)
        return first if first.name in self._needed else None

    def add_pool(self, node: Pool) -> None:
        """Append the gradient of a pooling's input."""
        grad = self._grads.pop(node.name)
        if node.input not in self._needed:
            return
        terms = self._ready(self.forward.saved[node.input]) if node.kind == "max" else ()
        out, accumulate = self._target(node.input)
        step = pooling(Kind.POOL_GRAD, self.layout, node, terms, out, grad)
        step.numbers["accumulate"] = accumulate
        self.steps.append(step)

    def add_upsampling(self, node: Upsample) -> None:
        """Append the gradient of the smaller map."""
        if node.input not in self._needed:
            del self._grads[node.name]
            return
        out, accumulate = self._target(node.input)
        step = upsampling(Kind.UPSAMPLE_GRAD, self.layout, node, out)
        step.input = self._grads.pop(node.name)
        step.numbers["accumulate"] = accumulate
        if sums := narrow.unrounded_sums(self.layout, out, step.shape):
            step.scratch = Buffer(f"{node.name} map", self.layout.reals(sums))
        self.steps.append(step)

    def _target(self, name: str) -> tuple[Buffer, int]:
        """(gradient buffer of ``name``, 1 if there is something in it to add to)."""
        if name in self._grads:
            return self._own(name), 1
        self._grads[name] = self._gradient(name)
        return self._grads[name], 0

    def _gradient(self, name: str) -> Buffer:
        """Room for the gradient of tensor ``name``."""
        layout, shape = self.layout, self.graph.shapes[name]
        is_narrow = narrow.narrow_gradient(layout, shape)
        return narrow.buffer(layout, f"{name} gradient", layout.map_bytes(shape), narrow=is_narrow)

    def _own(self, name: str) -> Buffer:
        """The gradient buffer of ``name``, copied first if another tensor's gradient shares it."""
        shared = self._grads[name]
        if all(other is not shared for key, other in self._grads.items() if key != name):
            return shared
        own, shape = self._gradient(name), self.graph.shapes[name]
        self.steps.append(Step(Kind.ADD_GRAD, name, None, shape, (), shared, own))
        self._grads[name] = own
        return own

    def _stored(self, node: Conv | Linear) -> Buffer:
        """The layer's stored output, expanded if it was pruned, computed again if dropped."""
        original, packed = self.forward.stored[node.name], self.forward.packed.get(node.name)
        if packed is None and node.name not in self.layout.options.recompute:
            return original
        if id(original) not in self._again:
            nbytes = self.layout.map_bytes(self.graph.shapes[node.name])
            again = self.forward.buffer(node.name, f"{node.name} again", nbytes)
            if packed is not None:
                step = self.forward.packing(Kind.EXPAND, node.name, packed, again)
            else:
                terms = self._ready(self.forward.saved[node.input])
                step = self.forward.convolution(Kind.CONV_AGAIN, node, terms, again)
            self.steps.append(step)
            self._again[id(original)] = again
        return self._again[id(original)]

    def _argument(self, node: Add) -> Terms:
        """What the sum's activation was applied to."""
        return self._ready(before_activation(self.forward.saved[node.name]))

    def _ready(self, terms: Terms) -> Terms:
        """``terms`` with dropped outputs computed again, pruned ones read from their copies."""
        layers = {id(buffer): name for name, buffer in self.forward.stored.items()}
        ready = []
        for term in terms:
            name = layers.get(id(term.data))
            # One pruned output of one block: its gradient follows and needs it expanded anyway.
            shared = len(terms) == 1 and self.layout.blocks == 1
            if name in self.forward.packed and not shared:
                ready.append(self.forward.unpacked(term, name))
            elif name is not None:
                ready.append(replace(term, data=self._stored(self.graph.layer(name))))
            else:
                ready.append(term)
        return tuple(ready)


BUILDERS: Mapping[type[Node], Callable[[Backward, Any], None]] = {
    Conv: Backward.add_layer,
    Linear: Backward.add_layer,
    Add: Backward.add_sum,
    Concat: Backward.refuse_concat,
    Pool: Backward.add_pool,
    Upsample: Backward.add_upsampling,
}
"""What appends the steps of each op's gradients."""


def _needing_gradients(pass_: Backward) -> frozenset[str]:
    """Tensors whose gradient the pass must compute."""
    if not pass_.grow:
        return pass_.layout.needed
    wanted = set(pass_.grow)
    for node in pass_.graph.nodes:
        if any(name in wanted for name in node.inputs):
            wanted.add(node.name)
    return frozenset(wanted)
