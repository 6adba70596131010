"""SynFlow: Tanaka et al., "Pruning neural networks without any data by iteratively conserving
synaptic flow", NeurIPS 2020. Scores and schedule are :mod:`fedtiny.pruning.synflow`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

from typing_extensions import override

from fedtiny.errors import FedTinyError
from fedtiny.methods.fixed_masks import FixedMask, Masks
from fedtiny.methods.method import Start


class SynFlow(FixedMask):
    """The fixed mask through which most synaptic flow passes; needs PyTorch on the server."""

    name: ClassVar[str] = "synflow"

    @override
    def masks(self, start: Start) -> Masks:
        if find_spec("torch") is None:
            raise FedTinyError(
                "pruning.method = 'synflow' needs PyTorch: pip install fedtiny[train]"
            )
        from fedtiny.pruning.synflow import synflow_masks  # noqa: PLC0415 - PyTorch is optional

        return synflow_masks(start.graph, start.state, self.budget(start))
