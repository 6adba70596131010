"""A small float32 network beside an exported int8 one, learned on the device.

It reads maps of the int8 network, each average-pooled as soon as it is made, so that none is kept
for it, and never writes into them; :mod:`fedtiny.adapt.methods.repnet_one_way` says where it comes
from. Without rungs it is the classifier alone. What C makes of it: ``runtime/include/
fedtiny_learn.h``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from fedtiny.memory.arena import Buffer
from fedtiny.models.ops import Shape
from fedtiny.models.ops.tensor import Pair
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.sparse.tensor import Floats

FLOAT_BYTES = 4
_HEAD_FIELDS, _STATE_FIELDS = 4, 5
"""Words of a slot beside its parameters, of a learner beside a slot and three numbers for each."""


@dataclass(frozen=True, slots=True)
class PooledMap:
    """An int8 map as it is read: its windows' means, dequantized.

    Attributes:
        tensor: of the integer model.
        shape: (C, H, W) of it.
        kernel: (height, width) of a window, and the stride; what fills no window is dropped.
        zero_point: of the tensor.
        scale: float32: the tensor's, divided by the cells of a window.
    """

    tensor: str
    shape: Shape
    kernel: Pair
    zero_point: int
    scale: float

    @classmethod
    def of(cls, model: IntegerGraph, tensor: str, kernel: Pair) -> PooledMap:
        """That of a model's tensor."""
        found = model.tensors[tensor]
        scale = float(np.float32(found.scale / prod(kernel)))
        return cls(tensor, found.shape, kernel, found.zero_point, scale)

    @property
    def size(self) -> Pair:
        """(height, width) of the pooled map."""
        return self.shape[1] // self.kernel[0], self.shape[2] // self.kernel[1]

    @property
    def nbytes(self) -> int:
        """Twin of ``fedtiny_learn_pool_s8_get_buffer_size``."""
        return prod(self.size) * self.shape[0] * FLOAT_BYTES


@dataclass(frozen=True, slots=True)
class Rung:
    """A convolution with ReLU over a pooled map: stride 1, the map's size kept.

    Attributes:
        map: that it reads.
        outputs, groups, kernel: of the convolution; kernels are odd.
    """

    map: PooledMap
    outputs: int
    groups: int
    kernel: Pair

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, KH, KW, channels of a group)."""
        return self.outputs, *self.kernel, self.map.shape[0] // self.groups

    @property
    def active_bytes(self) -> int:
        """Twin of ``fedtiny_learn_conv_forward_get_buffer_size``."""
        return prod(self.map.size) * self.outputs


@dataclass(frozen=True, slots=True, eq=False)
class SideNet:
    """What is learned on the device.

    Attributes:
        method: of :class:`fedtiny.config.adapt.MethodName`.
        rungs: in the order in which their maps are made; empty for the head alone.
        features: what the classifier reads, in windows of one cell.
        middle: channels of the ladder; 0 without rungs.
        classes: of the model.
        start: float32, all parameters before learning, as :attr:`blocks` lay them out.
        rate: learning rate that the project begins with.
    """

    method: str
    rungs: tuple[Rung, ...]
    features: PooledMap
    middle: int
    classes: int
    start: Floats
    rate: float

    @property
    def feature_count(self) -> int:
        """Values that the classifier reads."""
        return prod(self.features.shape)

    @property
    def blocks(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the parameters, in the order in which they lie, by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for k, rung in enumerate(self.rungs):
            shapes |= {f"weight {k}": rung.weight_shape, f"bias {k}": (rung.outputs,)}
        if self.rungs:
            shapes["out weight"] = (self.feature_count, self.middle)
            shapes["out bias"] = (self.feature_count,)
        shapes["head weight"] = (self.classes, self.feature_count)
        return shapes | {"head bias": (self.classes,)}

    @property
    def positions(self) -> Mapping[str, int]:
        """Where each of :attr:`blocks` begins."""
        found, at = dict[str, int](), 0
        for name, shape in self.blocks.items():
            found[name] = at
            at += prod(shape)
        return found

    @property
    def parameters(self) -> int:
        """Numbers that are learned."""
        return sum(map(prod, self.blocks.values()))

    @property
    def slot_bytes(self) -> int:
        """What is written to flash: parameters, three words before them, a CRC-32 behind."""
        return FLOAT_BYTES * (self.parameters + _HEAD_FIELDS)

    @property
    def flash_bytes(self) -> int:
        """The untrained start, and two slots."""
        return 3 * self.slot_bytes

    @property
    def learner_bytes(self) -> int:
        """RAM of a learner: parameters, gradients, two moments of each; arena apart."""
        seen = -(-self.classes // FLOAT_BYTES) * FLOAT_BYTES
        state = FLOAT_BYTES * (3 * self.parameters + _STATE_FIELDS)
        return self.slot_bytes + state + seen

    def values(self, vector: Floats) -> dict[str, Floats]:
        """The parameters of a vector by name: views."""
        return {
            name: vector[self.positions[name] :][: prod(shape)].reshape(shape)
            for name, shape in self.blocks.items()
        }

    def buffers(self, model: IntegerGraph) -> list[Buffer]:
        """What it needs in the arena; lives count as in :func:`fedtiny.firmware.arena.plan_arena`.

        Whatever is read of a step's result is taken just after the step.
        """
        steps = {node.name: i for i, node in enumerate(model.nodes)}
        end = 2 * len(steps)

        def after(tensor: str) -> int:
            return 2 * steps[tensor] + 1

        features = self.feature_count * FLOAT_BYTES
        found = [
            Buffer("learn x", features, first=after(self.features.tensor), last=end),
            Buffer("learn logits", self.classes * FLOAT_BYTES, first=end, last=end),
        ]
        for k, rung in enumerate(self.rungs):
            first = after(rung.map.tensor)
            found += [
                Buffer(f"learn pooled {k}", rung.map.nbytes, first=first, last=end),
                Buffer(f"learn active {k}", rung.active_bytes, first=end, last=end),
            ]
        if self.rungs:
            found.append(Buffer("learn x gradient", features, first=end, last=end))
            for name in ("learn ladder", "learn ladder gradient"):
                found.append(Buffer(name, self.middle * FLOAT_BYTES, first=end, last=end))
        return found
