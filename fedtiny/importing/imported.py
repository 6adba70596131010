"""What every reader of foreign networks hands to the exporter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedtiny.data.dataset import Indices, SensorSpec
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int16s


@dataclass(frozen=True, slots=True, eq=False)
class ImportedModel:
    """A network in integers, and samples to check its firmware with.

    Attributes:
        integer: from sensor counts to outputs.
        counts: int16 ``(N, C, H, W)``, N ≥ 1 samples in sensor counts: the firmware's test vectors.
        y: class of each sample, ``(N,)``; None where nobody labelled them.
        labels: name of each output.
        sensor: names, units and scale of the channels.
        accuracies: share of the labelled samples that the float model gets right, by what was done
            to it, in order: ``{"float": 0.93, "pruned": 0.91}``; empty without labels, or without a
            float model.
        remarks: sentences for people about how it was read.
    """

    integer: IntegerGraph
    counts: Int16s
    y: Indices | None
    labels: tuple[str, ...]
    sensor: SensorSpec
    accuracies: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
