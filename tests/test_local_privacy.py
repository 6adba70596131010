"""What noise for local differential privacy costs: the table of docs/decisions/12."""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from scipy.optimize import brentq
from scipy.stats import norm
from test_trust import Configure, _variances, accuracy, configure, federate  # noqa: F401 - fixture

from clients.app import client_app
from clients.device import Device
from clients.handlers import HANDLERS
from fedtiny.seeding import rng
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainTask

DELTA = 1e-5
CLIP = 1.0
"""Euclidean length of an update; an honest one is about 5 long."""


def gaussian_sigma(epsilon: float) -> float:
    """Noise, as a multiple of the clip, for (ε, δ) (Balle and Wang 2018, Theorem 8)."""

    def excess(sigma: float) -> float:
        a, b = 1 / (2 * sigma), epsilon * sigma
        return float(norm.cdf(a - b) - exp(epsilon + norm.logcdf(-a - b)) - DELTA)

    return float(brentq(excess, 0.02, 50))


def private_app(sigma: float) -> ClientApp:
    """Every device clips its update and adds noise to each number of it."""

    def handler(device: Device, packet: Packet) -> Packet:
        reply = HANDLERS[Phase.TRAIN](device, packet)
        names = ("values", "dense")
        changes = {name: reply.arrays[name] - packet.arrays[name] for name in names}
        length = sqrt(sum(float(np.sum(np.square(c, dtype=np.float64))) for c in changes.values()))
        round = TrainTask.read(device.graph, packet).round
        draw = rng(device.config.seed, "private", round, device.partition)
        arrays = dict(reply.arrays)
        for name, change in changes.items():
            noise = draw.normal(0, sigma * CLIP, change.shape)
            noisy = packet.arrays[name] + min(1, CLIP / length) * change + noise
            arrays[name] = noisy.astype(np.float32)
        positive = _variances(device, arrays["dense"])
        arrays["dense"] = np.where(positive, np.abs(arrays["dense"]), arrays["dense"])
        return replace(reply, arrays=arrays)

    return client_app({**HANDLERS, Phase.TRAIN: handler})


def test_sigma_is_that_of_the_paper() -> None:
    """Less than the classical bound, which holds for ε ≤ 1, and not by much."""
    classical = sqrt(2 * np.log(1.25 / DELTA))
    assert 0.7 * classical < gaussian_sigma(1.0) < classical


@pytest.mark.deploy
@pytest.mark.parametrize(
    ("epsilon", "least", "most"), [(None, 0.6, 0.75), (50.0, 0.3, 0.6), (8.0, 0.0, 0.25)]
)
def test_what_noise_leaves_of_the_accuracy(
    epsilon: float | None,
    least: float,
    most: float,
    configure: Configure,  # noqa: F811
    tmp_path: Path,
) -> None:
    sigma = gaussian_sigma(epsilon) if epsilon else 0.0
    found = accuracy(federate(configure("trust.update_factor=0"), tmp_path, private_app(sigma)))
    print(f"epsilon {epsilon}, sigma {sigma:.2f}: {found:.3f}")
    assert least < found < most
