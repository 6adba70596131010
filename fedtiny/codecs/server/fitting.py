"""Training on the server: one loop for every network of a codec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fedtiny.codecs.folding import fold
from fedtiny.data.dataset import Dataset
from fedtiny.data.statistics import InputStatistics, Normalization
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats

BATCH = 64
_EVALUATED = 500


@dataclass(frozen=True, eq=False)
class Pictures:
    """Public pictures on the server.

    Attributes:
        data: counts and classes.
        normalization: of the training pictures, for the tests', too.
    """

    data: Dataset
    normalization: Normalization

    @classmethod
    def of(cls, training: Dataset, test: Dataset) -> tuple[Pictures, Pictures]:
        """(training, test), both normalised by the first."""
        normalization = InputStatistics.of(training).normalization()
        return cls(training, normalization), cls(test, normalization)

    @property
    def x(self) -> Tensor:
        """Normalised, float32 (N, C, H, W)."""
        return torch.from_numpy(self.normalization.apply(self.data.x))

    @property
    def cells(self) -> Tensor:
        """Normalised and folded, float32 (N, 16·C, H/4, W/4): what encoders read."""
        return torch.from_numpy(np.ascontiguousarray(fold(self.x.numpy())))

    @property
    def y(self) -> Tensor:
        """Classes, int64 (N,)."""
        return torch.from_numpy(self.data.y.copy())

    def seen_as(self, x: np.ndarray) -> Pictures:
        """The same classes with other counts, uint8 (N, C, H, W): what came out of a codec."""
        data = Dataset(x, self.data.y, self.data.owner, self.data.labels, self.data.sensor)
        return Pictures(data, self.normalization)


@dataclass(frozen=True, slots=True)
class Lesson:
    """How long and how fast: Adam, its rate rising and falling once.

    Attributes:
        epochs: passes over the pictures.
        lr: largest rate.
        seed: of the order, of weights and of what is dropped.
    """

    epochs: int
    lr: float = 4e-3
    seed: int = 0


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """PyTorch's generator is a function of position inside, and what it was afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(int(rng(seed, purpose).integers(2**62)))
        yield


def fit(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    number: int,
    lesson: Lesson,
    after: Callable[[int, int], None] | None = None,
) -> None:
    """Minimise ``loss(rows)`` over batches of rows of ``number`` samples.

    Args:
        parameters: that learn.
        loss: of some rows.
        number: of samples.
        lesson: how long and how fast.
        after: called with every step, and the number of all, when it is done.
    """
    steps = number // BATCH
    if lesson.epochs * steps == 0:
        return
    chosen = list(parameters)
    optimizer = torch.optim.Adam(chosen, lr=lesson.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lesson.lr, total_steps=lesson.epochs * steps
    )
    for epoch in range(lesson.epochs):
        order = torch.from_numpy(rng(lesson.seed, "codec batches", epoch).permutation(number))
        for first in range(0, steps * BATCH, BATCH):
            optimizer.zero_grad()
            loss(order[first : first + BATCH]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if after is not None:
                after(epoch * steps + first // BATCH, lesson.epochs * steps)


def outputs(network: nn.Module, x: Tensor) -> Floats:
    """What a network in evaluation mode makes of ``x``, some hundred rows at a time."""
    network.eval()
    with torch.no_grad():
        starts = range(0, len(x), _EVALUATED)
        parts = [network(x[first : first + _EVALUATED]).numpy() for first in starts]
    found: Floats = np.concatenate(parts)
    return found


def right(network: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    """Whether each of ``x`` gets its class, bool (N,)."""
    return np.asarray(outputs(network, x).argmax(1) == y.numpy())
