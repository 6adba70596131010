"""The integer model: what quantization produces, the interpreter runs and firmware is made from.

Arithmetic is that of TensorFlow Lite and CMSIS-NN: int8 activations with one scale per tensor,
int8 weights symmetric with one scale per output channel, int32 biases and accumulators,
fixed-point rescaling (:mod:`fedtiny.quant.requantize`).

Layouts are the microcontroller's: activations ``(H, W, C)``, weights ``(O, H, W, I)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.models.ops import INPUT
from fedtiny.quant.ops.add import IntegerAdd
from fedtiny.quant.ops.concat import IntegerConcat
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.linear import IntegerLinear
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.ops.mean import IntegerMean
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.ops.upsample import IntegerUpsample
from fedtiny.quant.tensors import Int8Tensor, Int32s, Int64s

IntegerNode = (
    IntegerConv
    | IntegerLinear
    | IntegerAdd
    | IntegerConcat
    | IntegerPool
    | IntegerMean
    | IntegerLookup
    | IntegerUpsample
)
IntegerLayer = IntegerConv | IntegerLinear
"""A node with weights."""


@dataclass(frozen=True, slots=True, eq=False)
class InputQuantization:
    """Sensor counts to int8, per channel: ``q = (counts·multiplier + offset + half) >> SHIFT``.

    Normalisation ``(counts − mean) / std``, division by the input scale and the zero point are
    all in the two numbers; ``half`` rounds to nearest, ties up; q is clamped to int8.

    Attributes:
        multiplier: int32 ``(C,)``, > 0.
        offset: int64 ``(C,)``, magnitude below 2^62.
    """

    multiplier: Int32s
    offset: Int64s


INPUT_SHIFT = 24
"""Fraction bits of :class:`InputQuantization`."""


@dataclass(frozen=True, slots=True, eq=False)
class IntegerGraph:
    """An int8 model from sensor counts to logits.

    Attributes:
        name: of the architecture.
        input_quantization: sensor counts to the tensor ``"input"``.
        tensors: how each is read, by name, ``"input"`` included.
        nodes: in execution order; each writes the tensor of its name.
        logits: name of the tensor that is the model's output.

    >>> from fedtiny.bench.synthetic import integer_model
    >>> from fedtiny.models import smartwatch_cnn
    >>> model = integer_model(smartwatch_cnn((6, 1, 128), 7), density=0.05)  # random weights
    >>> model.input.shape, model.output.shape, len(model.nodes)
    ((6, 1, 128), (7, 1, 1), 6)
    """

    name: str
    input_quantization: InputQuantization
    tensors: Mapping[str, Int8Tensor]
    nodes: tuple[IntegerNode, ...]
    logits: str

    @property
    def input(self) -> Int8Tensor:
        """The int8 input tensor."""
        return self.tensors[INPUT]

    @property
    def output(self) -> Int8Tensor:
        """The int8 logits, shape (classes, 1, 1)."""
        return self.tensors[self.logits]

    @property
    def layers(self) -> tuple[IntegerLayer, ...]:
        """The nodes with weights, in order."""
        return tuple(n for n in self.nodes if isinstance(n, IntegerLayer))
