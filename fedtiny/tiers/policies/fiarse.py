"""FIARSE: parts by a threshold on |θ| (Wu et al., NeurIPS 2024)."""

from __future__ import annotations

from typing import ClassVar

from fedtiny.tiers.policies.density_only import DensityOnly


class Fiarse(DensityOnly):
    """The largest |θ| of the whole model, ranked anew every round.

    Different from the paper: parts are of the run's sparse model; its gradient through the
    threshold, which also moves weights by their importance, is left out.
    """

    name: ClassVar[str] = "fiarse"
    reranks: ClassVar[bool] = True
    across: ClassVar[bool] = True
