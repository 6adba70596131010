"""Small int8 ``.tflite`` networks with random weights, and a builder for broken ones."""

from __future__ import annotations

import numpy as np
from tflite_writer import SAME, VALID, Writer

RELU, RELU6 = 1, 3


class Layers(Writer):
    """Appends operators whose activations have random scales."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.draw = np.random.default_rng(seed)
        self.scales: dict[int, float] = {}

    def variable(
        self, shape: tuple[int, ...], scale: float | None = None, zero_point: int | None = None
    ) -> int:
        scale = float(self.draw.uniform(0.02, 0.08)) if scale is None else scale
        zero_point = int(self.draw.integers(-60, 60)) if zero_point is None else zero_point
        index = self.tensor(shape, scale, zero_point)
        self.scales[index] = float(np.float32(scale))
        return index

    def constants(self, source: int, shape: tuple[int, ...], axis: int, single: bool) -> list[int]:
        """Weights and biases, a fifth of the weights 0."""
        out = shape[axis]
        weights = self.draw.integers(-127, 128, shape) * (self.draw.random(shape) > 0.2)
        scales = self.draw.uniform(0.002, 0.01, 1 if single else out)
        biases = self.draw.integers(-2000, 2000, out).astype(np.int32)
        return [
            self.tensor(shape, scales, data=weights.astype(np.int8), axis=axis),
            self.tensor((out,), scales * self.scales[source], data=biases, kind="INT32"),
        ]

    def conv(
        self,
        source: int,
        weights: tuple[int, ...],
        result: tuple[int, ...],
        stride: int = 1,
        padding: int = SAME,
        activation: int = 0,
        dilation: int = 1,
    ) -> int:
        """CONV_2D with filters (O, KH, KW, I), or DEPTHWISE_CONV_2D with (1, KH, KW, O)."""
        depthwise = weights[0] == 1
        held = self.constants(source, weights, 3 if depthwise else 0, single=False)
        multiplier = {"DepthMultiplier": 1} if depthwise else {}
        return self.operator(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [source, *held],
            self.variable(result),
            version=3,
            Padding=padding,
            StrideH=stride,
            StrideW=stride,
            DilationHFactor=dilation,
            DilationWFactor=dilation,
            FusedActivationFunction=activation,
            **multiplier,
        )

    def linear(self, source: int, features: int, result: tuple[int, ...]) -> int:
        held = self.constants(source, (result[-1], features), 0, single=True)
        return self.operator("FULLY_CONNECTED", [source, *held], self.variable(result), version=4)

    def pool(
        self, kind: str, source: int, result: int, size: int, stride: int, padding: int = SAME
    ) -> int:
        walked = {"Padding": padding, "StrideH": stride, "StrideW": stride}
        windows = {"FilterHeight": size, "FilterWidth": size}
        return self.operator(kind, [source], result, version=2, **walked, **windows)

    def whole(self, values: list[int] | list[list[int]]) -> int:
        """A constant of whole numbers."""
        array = np.array(values, np.int32)
        return self.tensor(array.shape, data=array, kind="INT32")


def every_operator(seed: int = 0) -> bytes:
    """One of each that is taken; sides are even where windows take two steps."""
    net = Layers(seed)
    entry = net.variable((1, 10, 12, 3))
    stem = net.conv(entry, (8, 3, 3, 3), (1, 5, 6, 8), stride=2, activation=RELU6)
    around = net.whole([[0, 0], [0, 1], [1, 0], [0, 0]])
    zero = net.draw.integers(-60, 60)
    stem_again = net.operator("QUANTIZE", [stem], net.variable((1, 5, 6, 8), 0.05, int(zero)))
    padded = net.variable((1, 6, 7, 8), 0.05, int(zero))
    net.operator("PAD", [stem_again, around], padded)
    depth = net.conv(padded, (1, 3, 3, 8), (1, 2, 3, 8), stride=2, padding=VALID)
    grouped = net.conv(depth, (8, 2, 3, 4), (1, 2, 3, 8), activation=RELU)
    total = net.operator("ADD", [depth, grouped], net.variable((1, 2, 3, 8), 0.09, -20), version=2)
    rectified = net.operator("RELU", [total], net.variable((1, 2, 3, 8), 0.04, -128))
    mean = net.pool("AVERAGE_POOL_2D", rectified, net.variable((1, 2, 3, 8), 0.04, -128), 2, 1)
    largest = net.pool("MAX_POOL_2D", mean, net.variable((1, 1, 2, 8), 0.04, -128), 2, 2)
    larger = net.operator(
        "RESIZE_NEAREST_NEIGHBOR",
        [largest, net.whole([3, 4])],
        net.variable((1, 3, 4, 8), 0.04, -128),
        version=3,
        HalfPixelCenters=seed % 2,
    )
    both = net.operator(
        "CONCATENATION", [larger, larger], net.variable((1, 3, 4, 16), 0.04, -128), 2, Axis=3
    )
    rows = net.linear(both, 16, (1, 3, 4, 16))
    axes = net.whole([1, 2])
    vector = net.operator("MEAN", [rows, axes], net.variable((1, 16)), version=2)
    hidden = net.linear(vector, 16, (1, 12))
    curved = net.operator("TANH", [hidden], net.variable((1, 12), 1 / 128, 0), version=2)
    squashed = net.linear(curved, 12, (1, 6))
    share = net.operator("LOGISTIC", [squashed], net.variable((1, 6), 1 / 256, -128), version=2)
    column = net.operator(
        "RESHAPE", [share, net.whole([1, 1, 6, 1])], net.variable((1, 1, 6, 1), 1 / 256, -128)
    )
    logits = net.linear(column, 6, (1, 5))
    ended = net.operator("SOFTMAX", [logits], net.variable((1, 5), 1 / 256, -128), 2, Beta=1.0)
    return net.model([entry], [ended])


def tiny(seed: int = 0) -> bytes:
    """A convolution, a mean and a fully-connected layer."""
    net = Layers(seed)
    entry = net.variable((1, 6, 6, 2))
    body = net.conv(entry, (4, 3, 3, 2), (1, 3, 3, 4), stride=2)
    vector = net.operator("MEAN", [body, net.whole([1, 2])], net.variable((1, 4)), version=2)
    return net.model([entry], [net.linear(vector, 4, (1, 3))])
