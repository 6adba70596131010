"""An encoder trained where the pictures are: devices send weights, the server's half is frozen.

Federated averaging (McMahan et al., 2017) of the encoder alone, some hundred parameters, against
the classifier that the server trained on pictures of its own; simulated, one device after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedtiny.codecs.server.fitting import BATCH, Lesson, Pictures, fit, seeded
from fedtiny.codecs.server.vae import Networks
from fedtiny.seeding import rng

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Rounds:
    """How long devices train.

    Attributes:
        rounds: each with all devices.
        epochs: passes of a device over its pictures in a round.
        lr: largest learning rate of a round.
    """

    rounds: int = 5
    epochs: int = 1
    lr: float = 2e-3


def dealt(pictures: Pictures, devices: int, alpha: float, seed: int) -> list[Pictures]:
    """Pictures dealt to devices, each class by shares from a Dirichlet distribution.

    Args:
        pictures: of all.
        devices: how many; one without a batch of pictures is left out.
        alpha: of the distribution; the smaller, the more devices differ.
        seed: of the shares.
    """
    draw = rng(seed, "pictures of devices")
    owners = np.zeros(len(pictures.data), np.int64)
    for label in range(len(pictures.data.labels)):
        mine = draw.permutation(np.flatnonzero(pictures.data.y == label))
        shares = draw.dirichlet([alpha] * devices).cumsum()
        owners[mine] = np.searchsorted(shares, (np.arange(len(mine)) + 0.5) / len(mine))
    rows = [np.flatnonzero(owners == device) for device in range(devices)]
    return [
        Pictures(pictures.data.take(mine), pictures.normalization)
        for mine in rows
        if len(mine) >= BATCH
    ]


def train_encoder(
    networks: Networks, devices: Sequence[Pictures], rounds: Rounds, seed: int
) -> Networks:
    """The same networks with an encoder that was trained on the devices.

    Args:
        networks: of the server; none of them changes.
        devices: their pictures.
        rounds: how long.
        seed: of the order.
    """
    found = deepcopy(networks)
    for frozen in (found.centres, found.classifier):
        frozen.requires_grad_(False).eval()
    weights = np.array([len(one.data) for one in devices], np.float64)
    with seeded(seed, "federated encoder"):
        for round in range(rounds.rounds):
            begun = deepcopy(found.encoder.state_dict())
            states = list[State]()
            for k, pictures in enumerate(devices):
                found.encoder.load_state_dict(begun)
                lesson = Lesson(rounds.epochs, rounds.lr, seed + 1000 * round + k)
                _train(found, pictures, lesson)
                states.append(deepcopy(found.encoder.state_dict()))
            found.encoder.load_state_dict(_mean(states, weights / weights.sum()))
    return found


def _train(networks: Networks, pictures: Pictures, lesson: Lesson) -> None:
    cells, y, encoder = pictures.cells, pictures.y, networks.encoder
    encoder.train()

    def loss(rows: Tensor) -> Tensor:
        quantised, _, _ = networks.quantised(cells[rows])
        return functional.cross_entropy(networks.classifier(quantised), y[rows])

    fit(encoder.parameters(), loss, len(pictures.data), lesson, encoder.stay)


def _mean(states: Sequence[State], shares: np.ndarray) -> State:
    """Weighted, of weights and of running statistics."""
    found = State()
    for name in states[0]:
        stacked = torch.stack([one[name] for one in states])
        found[name] = torch.einsum("i...,i->...", stacked, torch.from_numpy(shares).to(stacked))
    return found
