"""One optimizer step along the gradients as they stand: SGD with momentum, or Adam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt

from fedtiny.engine import abi
from fedtiny.engine.library import Library
from fedtiny.engine.options import Optimizer
from fedtiny.engine.state import State, address

KEEP_FIRST, KEEP_SECOND, EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as everywhere (Kingma & Ba 2015, arXiv 1412.6980)."""


@dataclass(slots=True)
class Descent:
    """The optimizer's settings, and how many steps it did.

    Attributes:
        lr, weight_decay: of both optimizers, as in PyTorch: decay is added to gradients.
        momentum: of SGD.
        rates: factors of ``lr`` by layer name; those not named have 1.
        steps: done so far.
    """

    lr: float
    momentum: float
    weight_decay: float
    rates: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0

    def step(self, lib: Library, instruction_set: int, state: State) -> None:
        """Change the trained parameters once."""
        self.steps += 1
        for first, count, rate in self._parts(state):
            if state.layout.options.optimizer is Optimizer.ADAM:
                lib.adam(instruction_set, self._adam(state, first, count, rate))
            else:
                lib.sgd(instruction_set, self._sgd(state, first, count, rate))

    def _parts(self, state: State) -> Iterator[tuple[int, int, float]]:
        """(first, count, learning rate) of the parameters that share one."""
        if not self.rates:
            yield 0, state.arrays["grads"].size, self.lr
            return
        first = 0
        for name, grad in state.gradients().items():
            layer = next(r.layer for r in state.layout.graph.parameters if r.name == name)
            yield first, grad.size, self.lr * self.rates.get(layer, 1.0)
            first += grad.size

    def _sgd(self, state: State, first: int, count: int, rate: float) -> abi.Sgd:
        values, grads, momentum = _pointers(state, first, "values", "grads", "momentum")
        return abi.Sgd(values, grads, momentum, count, rate, self.momentum, self.weight_decay)

    def _adam(self, state: State, first: int, count: int, rate: float) -> abi.Adam:
        pointers = _pointers(state, first, "values", "grads", "momentum", "squares")
        rate /= 1 - KEEP_FIRST**self.steps
        correction = 1 / sqrt(1 - KEEP_SECOND**self.steps)
        return abi.Adam(
            *pointers, count, rate, correction, KEEP_FIRST, KEEP_SECOND, EPSILON, self.weight_decay
        )


def _pointers(state: State, first: int, *names: str) -> list[int]:
    """Addresses of element ``first`` of arrays of the state."""
    arrays = [state.arrays[name] for name in names]
    return [address(array) + first * array.itemsize for array in arrays]
