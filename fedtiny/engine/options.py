"""What whoever uses the engine may choose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TILE_BYTES = 1024 * 1024
"""Target size of a padded tile: a usual second-level cache."""

CROSSOVER_DENSITY = 0.6
"""From this share of its weights on, a layer is computed with dense kernels.

Measured with ``fedtiny bench crossover`` (AVX-512): the median over layers of ResNet-8, ResNet-18,
DS-CNN and the smart-watch model. From 0.5 on, dense kernels need no more memory either: scattered
weights and gradients (8 bytes a weight, for one layer at a time) take less than the three indices
per non-zero (12 bytes, of every layer) that they do without.
"""


class Optimizer(StrEnum):
    """How parameters follow their gradients."""

    SGD = "sgd"
    ADAM = "adam"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is trained; together with graph and masks it fixes every byte of the plan.

    Attributes:
        micro_batch: samples of one forward and backward pass.
        threads: that run the kernels; results do not depend on it. Each takes blocks of samples
            whole, through a padded tile of its own, where their number is a multiple of it; else
            they share every block's channels. As many as the process may use cores have one each
            while they compute, the caller's thread, too.
        recompute: layers whose output is dropped and computed again in the backward pass; no bit
            of the result depends on it.
        activation_density: part of the saved activations that is kept for the backward pass
            (:mod:`fedtiny.engine.activations`).
        activation_bits: 32, or 16: convolutions are trained in bfloat16
            (:mod:`fedtiny.engine.narrow`).
        tile_bytes: target size of the padded tiles.
        crossover: density from which a layer is computed with dense kernels; above 1: never.
        trained: names of the parameters that training changes, if not all that the graph lets it
            change. For those of no other is there a gradient or an optimizer's state, and nothing
            is saved that only their gradients would need.
        optimizer: SGD holds one number per trained parameter, Adam two.
    """

    micro_batch: int
    threads: int = 1
    recompute: tuple[str, ...] = ()
    activation_density: float = 1.0
    activation_bits: int = 32
    tile_bytes: int = TILE_BYTES
    crossover: float = CROSSOVER_DENSITY
    trained: tuple[str, ...] | None = None
    optimizer: Optimizer = Optimizer.SGD
