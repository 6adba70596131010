"""What a model holds besides its structure: one row per array that is trained, sent or saved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fedtiny.sparse.tensor import Floats


class ParameterKind(StrEnum):
    """What an array is to its layer; the value is how names end, in checkpoints too.

    There is no integer ``num_batches_tracked``: it carries nothing the run's round number does
    not.
    """

    WEIGHT = "weight"
    BIAS = "bias"
    BN_SCALE = "bn.weight"
    BN_SHIFT = "bn.bias"
    RUNNING_MEAN = "bn.running_mean"
    RUNNING_VAR = "bn.running_var"

    def of(self, layer: str) -> str:
        """Name of the array of this kind that belongs to ``layer``.

        >>> ParameterKind.RUNNING_VAR.of("stem")
        'stem.bn.running_var'
        """
        return f"{layer}.{self.value}"

    @property
    def is_statistic(self) -> bool:
        """Whether it is measured on the data instead of trained."""
        return self in (ParameterKind.RUNNING_MEAN, ParameterKind.RUNNING_VAR)

    @property
    def neutral(self) -> float | None:
        """The value that changes nothing; None for weights, which have none."""
        return _NEUTRAL.get(self)


_NEUTRAL = {
    ParameterKind.BIAS: 0.0,
    ParameterKind.BN_SCALE: 1.0,
    ParameterKind.BN_SHIFT: 0.0,
    ParameterKind.RUNNING_MEAN: 0.0,
    ParameterKind.RUNNING_VAR: 1.0,
}

AFFINE = (ParameterKind.BIAS,)
"""What a layer without batch norm has besides its weight."""

BATCH_NORM = (
    ParameterKind.BN_SCALE,
    ParameterKind.BN_SHIFT,
    ParameterKind.RUNNING_MEAN,
    ParameterKind.RUNNING_VAR,
)
"""What a layer with batch norm has besides its weight."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One array of a model.

    Attributes:
        layer: name of the layer that reads it.
        kind: what it is to that layer.
        shape: of the array; a weight's is (outputs, inputs of one, …), all others' (outputs,).
        prunable: whether its elements may be absent; only a weight's may.
        trainable: whether training changes it.
    """

    layer: str
    kind: ParameterKind
    shape: tuple[int, ...]
    prunable: bool
    trainable: bool

    @property
    def name(self) -> str:
        """Unique in the model: ``{layer}.weight``, ``{layer}.bn.running_mean`` …"""
        return self.kind.of(self.layer)

    def initial(self, generator: np.random.Generator) -> Floats:
        """A fresh value, float32: He-normal by fan-in (He et al. 2015) for weights, else neutral.

        Args:
            generator: see :func:`fedtiny.seeding.rng`; only weights draw from it.
        """
        if self.kind.neutral is not None:
            return np.full(self.shape, self.kind.neutral, np.float32)
        scale = np.sqrt(2 / np.prod(self.shape[1:]))
        value: Floats = (generator.standard_normal(self.shape) * scale).astype(np.float32)
        return value


def parameters_of(
    layer: str,
    weight_shape: tuple[int, ...],
    others: Iterable[ParameterKind],
    *,
    prunable: bool,
    trainable: bool,
) -> tuple[Parameter, ...]:
    """A layer's weight and its per-output arrays of the kinds ``others``."""
    weight = Parameter(layer, ParameterKind.WEIGHT, weight_shape, prunable, trainable)
    outputs = weight_shape[:1]
    return (
        weight,
        *(
            Parameter(layer, kind, outputs, False, trainable and not kind.is_statistic)
            for kind in others
        ),
    )
