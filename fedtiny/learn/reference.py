"""What the C learns, in numpy: equal bit for bit, because every product and sum is the same.

Sums run over the same terms in the same order; a term outside the map is 0 here and left out there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.firmware.side_net import PooledMap, Rung, SideNet
from fedtiny.learn.functions import adam_powers, exponential, logarithm
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int8s, Int16s
from fedtiny.sparse.tensor import Floats

KEEP_FIRST, KEEP_SECOND, EPSILON = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
ONE = np.float32(1)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What the side net reads of windows: constant, since the backbone is.

    Attributes:
        features: float32 ``(N, F)``.
        maps: of each rung, float32 ``(N, height, width, C)``.
    """

    features: Floats
    maps: tuple[Floats, ...]


def read(model: IntegerGraph, side: SideNet, counts: Int16s) -> Readings:
    """That of int16 ``(N, C, H, W)`` raw counts, by the integer reference."""
    tensors = dict(reference.trace(model, reference.quantize_input(model, counts)))
    maps = tuple(pooled(rung.map, tensors[rung.map.tensor]) for rung in side.rungs)
    features = pooled(side.features, tensors[side.features.tensor])
    return Readings(features.reshape(len(counts), -1), maps)


def pooled(to: PooledMap, codes: Int8s) -> Floats:
    """``fedtiny_learn_pool_s8`` of int8 ``(N, H, W, C)``."""
    (rows, columns), (high, wide) = to.size, to.kernel
    kept = codes[:, : rows * high, : columns * wide].astype(np.int64)
    windows = kept.reshape(len(codes), rows, high, columns, wide, -1)
    sums = windows.sum(axis=(2, 4)) - prod(to.kernel) * to.zero_point
    means: Floats = np.float32(to.scale) * sums.astype(np.float32)
    return means


class Learner:
    """A learner's weights, gradients and optimizer.

    Args:
        side: what is learned.
        rate: of Adam; by default that of ``side``.
    """

    def __init__(self, side: SideNet, rate: float | None = None) -> None:
        self.side = side
        self.vector = side.start.copy()
        self._gradients = np.zeros_like(self.vector)
        self._moments = np.zeros_like(self.vector), np.zeros_like(self.vector)
        self._powers = ONE, ONE
        self._rate = np.float32(side.rate if rate is None else rate)
        self._values, self._grads = side.values(self.vector), side.values(self._gradients)

    def logits(self, readings: Readings, row: int) -> Floats:
        """float32 ``(classes,)`` of one window."""
        return self._forward(readings, row)[0]

    def classes(self, readings: Readings) -> Ints:
        """The class of each window."""
        rows = range(len(readings.features))
        return np.array([self.logits(readings, row).argmax() for row in rows], np.int64)

    def learn(self, readings: Readings, row: int, label: int) -> np.float32:
        """Add one window's gradients; its loss."""
        logits, x, ladder, active = self._forward(readings, row)
        loss, gradient = softmax(logits, label)
        x_gradient = self._linear_backward("head", x, gradient)
        if self.side.rungs:
            ladder_gradient = self._linear_backward("out", ladder, x_gradient) * self._share
            for k, rung in enumerate(self.side.rungs):
                self._conv_backward(k, rung, readings.maps[k][row], active[k], ladder_gradient)
        return loss

    def gradients(self) -> dict[str, Floats]:
        """Sums since the last update, by block of :attr:`SideNet.blocks`."""
        return {name: values.copy() for name, values in self._grads.items()}

    def update(self, windows: int) -> None:
        """One step of Adam along the mean of ``windows`` windows' gradients."""
        first, second = self._moments
        self._powers, rate, correction = adam_powers(self._powers, self._rate)
        g = self._gradients * (ONE / np.float32(windows))
        first[:] = KEEP_FIRST * first + (ONE - KEEP_FIRST) * g
        second[:] = KEEP_SECOND * second + (ONE - KEEP_SECOND) * g * g
        self.vector -= rate * first / (np.sqrt(second) * correction + EPSILON)
        self._gradients[:] = 0

    def step(self, readings: Readings, rows: Sequence[int], labels: Ints) -> np.float32:
        """Learn a batch and update; its mean loss."""
        total = np.float32(0)
        for row in rows:
            total += self.learn(readings, row, int(labels[row]))
        self.update(len(rows))
        return total / np.float32(len(rows))

    @property
    def _share(self) -> np.float32:
        return ONE / np.float32(prod(self.side.rungs[0].map.size))

    def _forward(self, readings: Readings, row: int) -> tuple[Floats, Floats, Floats, list[Bools]]:
        """(logits, x, the ladder's mean, which outputs of each rung are positive)."""
        x: Floats = readings.features[row]
        ladder: Floats = np.zeros(self.side.middle, np.float32)
        active = []
        for k, rung in enumerate(self.side.rungs):
            out = self._conv(k, rung, readings.maps[k][row])
            ladder = summed(ladder, np.maximum(out, np.float32(0)))
            active.append(out > 0)
        if self.side.rungs:
            ladder = ladder * self._share
            x = x + self._linear("out", ladder)
        return self._linear("head", x), x, ladder, active

    def _conv(self, k: int, rung: Rung, map_: Floats) -> Floats:
        """Before ReLU, (cells, outputs)."""
        patches = _patches(rung, map_)
        terms = patches * self._values[f"weight {k}"]
        flat = terms.reshape(*terms.shape[:2], -1)
        bias = np.broadcast_to(self._values[f"bias {k}"], flat.shape[:2])
        return summed(bias, np.moveaxis(flat, 2, 0))

    def _conv_backward(
        self, k: int, rung: Rung, map_: Floats, active: Bools, gradient: Floats
    ) -> None:
        weight, bias = self._grads[f"weight {k}"], self._grads[f"bias {k}"]
        own = np.where(active, gradient, np.float32(0))
        weight[:] = summed(weight, own[..., None, None, None] * _patches(rung, map_))
        bias[:] = summed(bias, own)

    def _linear(self, name: str, x: Floats) -> Floats:
        weight = self._values[f"{name} weight"]
        return summed(self._values[f"{name} bias"], (weight * x).T)

    def _linear_backward(self, name: str, x: Floats, gradient: Floats) -> Floats:
        """The gradient of ``x``."""
        self._grads[f"{name} bias"][:] += gradient
        self._grads[f"{name} weight"][:] += gradient[:, None] * x
        terms = gradient[:, None] * self._values[f"{name} weight"]
        return summed(np.zeros_like(x), terms)


def summed(first: Floats, terms: Floats) -> Floats:
    """``first + terms[0] + terms[1] + …``, from left to right, each sum rounded to float32."""
    last: Floats = np.add.accumulate(np.concatenate([first[None], terms]), axis=0)[-1]
    return last


def _patches(rung: Rung, map_: Floats) -> Floats:
    """(cells, outputs, KH, KW, channels of a group): what each output reads, 0 outside the map."""
    (high, wide), depth = rung.kernel, rung.map.shape[0] // rung.groups
    framed = np.pad(map_, ((high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(framed, (high, wide), axis=(0, 1))
    cells = view.reshape(-1, rung.groups, depth, high, wide)  # channels stand before taps there
    return cells.transpose(0, 1, 3, 4, 2).repeat(rung.outputs // rung.groups, axis=1)


def softmax(logits: Floats, label: int) -> tuple[np.float32, Floats]:
    """Loss and its gradient: ``fedtiny_learn_softmax``."""
    top = logits.max()
    powers = exponential(logits - top)
    total = np.float32(0)
    for power in powers:
        total += power
    gradient = powers / total
    gradient[label] -= ONE
    return logarithm(total) + (top - logits[label]), gradient
