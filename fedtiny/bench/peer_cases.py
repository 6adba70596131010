"""The works that others publish figures of, and who does them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise

from fedtiny.bench.contenders import Contender, sparse
from fedtiny.bench.no_peer import NoPeerError
from fedtiny.bench.workload import SIZES, Workload, workload_of
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Linear


class Work(StrEnum):
    """One network."""

    RESNET18 = "resnet18"
    """SparseProp's: 3×32×32, batch 16."""
    FFN = "ffn"
    """SparseLab's: the two linear layers of a transformer's block, 768-3072-768, batch 128."""
    MLP = "mlp"
    """Nerva's: 3072-1024-1024-10, batch 100 (Wesselink et al. 2024)."""


@dataclass(frozen=True, slots=True)
class Case:
    """A work as its peer publishes it.

    Attributes:
        title: for people.
        graph: makes the network.
        batch: samples a step.
        densities: weights kept / weights of each sparse layer.
    """

    title: str
    graph: Callable[[], Graph]
    batch: int
    densities: tuple[float, ...]

    def workload(self, density: float, threads: int) -> Workload:
        """Random data, random positions."""
        return workload_of(self.graph(), density, self.batch, threads)


def mlp(name: str, sizes: tuple[int, ...], classes: int) -> Graph:
    """Sparse linear layers of ``sizes`` with ReLU between, and a dense classifier.

    >>> [layer.out_features for layer in mlp("tiny", (8, 4), 2).layers]
    [4, 2]
    """
    nodes: list[Linear] = []
    before = INPUT
    for k, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        nodes.append(Linear(f"linear{k}", before, inputs, outputs, Activation.RELU, f"linear{k}"))
        before = nodes[-1].name
    nodes.append(Linear("classifier", before, sizes[-1], classes, prunable=False))
    return Graph(name, (sizes[0], 1, 1), tuple(nodes))


CASES: Mapping[Work, Case] = {
    Work.RESNET18: Case(
        "ResNet-18, 3×32×32", lambda: build("resnet18", *SIZES["resnet18"]), 16, (0.05, 0.01)
    ),
    Work.FFN: Case(
        "linear 768-3072-768", lambda: mlp("ffn", (768, 3072, 768), 10), 128, (0.1, 0.02)
    ),
    Work.MLP: Case(
        "linear 3072-1024-1024-10", lambda: mlp("mlp", (3072, 1024, 1024), 10), 100, (0.01,)
    ),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Who does a work.

    Attributes:
        title: for people.
        module: of this package that has it; its function is called as the peer.
        needs: package that must be installed.
    """

    title: str
    module: str
    needs: str = "torch"

    def contender(self, name: str, work: Workload) -> Contender:
        """Raises NoPeerError: it is not installed, or cannot do this."""
        if find_spec(self.needs) is None:
            raise NoPeerError(f"{self.needs} is not installed: pip install 'fedtiny[peers]'")
        try:
            made: Contender = getattr(import_module(self.module), name)(work)
        except ImportError as error:
            raise NoPeerError(f"{self.needs} does not run here: {error}") from error
        return made


_TORCH, _OTHERS = "fedtiny.bench.torch_contenders", "fedtiny.bench.peer_layers"
OURS = "fedtiny"
PEERS: Mapping[str, Peer] = {
    "dense": Peer("PyTorch dense", _TORCH),
    "compiled": Peer("PyTorch dense, torch.compile", _TORCH),
    "bfloat16": Peer("PyTorch dense, bfloat16", _TORCH),
    "masked": Peer("PyTorch masked", "fedtiny.bench.contenders"),
    "sparseprop": Peer("SparseProp", _OTHERS, "sparseprop"),
    "sparselab": Peer("SparseLab", _OTHERS, "sparselab"),
}
"""By name in tables."""


def contender(name: str, work: Workload) -> Contender:
    """Us or a peer, by name; raises NoPeerError."""
    return sparse(work) if name == OURS else PEERS[name].contender(name, work)
