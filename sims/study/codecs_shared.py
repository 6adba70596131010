"""What all codecs of ``sims.study.codecs`` share: pictures, a row, budgets, deadlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from fedtiny.codecs.blocks import split
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.link import Interference, send
from fedtiny.codecs.server.classifying import train_classifier
from fedtiny.codecs.server.fitting import Lesson, Pictures
from fedtiny.codecs.server.networks import PictureClassifier
from fedtiny.data.idx import read_idx_directory
from fedtiny.firmware.planner import ANY_CORTEX_M4, fit
from fedtiny.fleet.link import Link, LinkSection
from sims.study.codecs_rows import setting_of

DATA = Path("/usr/share/datasets/fashion-mnist")
TRAINING, TESTED, PUBLIC = 12_000, 2000, 2000
"""Pictures; of the training ones, those that a server has where devices train the encoder."""
EPOCHS, AGAIN = 6, 14
"""Of the clean classifier; then of what goes on from it, on what a codec leaves of pictures."""
BUDGETS = (8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 128)
"""Bytes of PNC and of progressive JPEG."""
TRACE, TRACE_PERIOD_S = Path("sims/fleets/low_rate.csv"), 60.0
DEADLINES_MS = (10, 20, 40, 80, 160)
PICTURES_EVERY_S = 0.37
"""A picture begins, on the trace's clock."""


@cache
def pictures() -> tuple[Pictures, Pictures]:
    """(training, test)."""
    training, test = read_idx_directory(DATA, ())
    return Pictures.of(training.take(np.arange(TRAINING)), test.take(np.arange(TESTED)))


@cache
def clean(seed: int) -> PictureClassifier:
    """The classifier of clean pictures."""
    return train_classifier(pictures()[0], Lesson(EPOCHS, seed=seed))


def retrained(seed: int, seen: Pictures) -> PictureClassifier:
    """A copy of the clean classifier that has gone on learning, from what a codec leaves."""
    lesson = Lesson(AGAIN, seed=seed + 1)
    return train_classifier(seen, lesson, deepcopy(clean(seed)))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of an encoder on a Cortex-M4: parameters, bytes of weights and tables, arena."""

    parameters: int = 0
    flash_bytes: int = 0
    arena_bytes: int = 0

    @classmethod
    def of(cls, half: DeviceHalf) -> Sizes:
        """Planned as any export is; the alphabet and the coder's tables count as flash."""
        plan = fit(half.encoder, ANY_CORTEX_M4).require()
        return cls(half.parameters, plan.flash_bytes + half.table_bytes, plan.arena.nbytes)


Found = tuple[str, float, float, float, Sizes]
"""(setting, payload bytes, file bytes, accuracy, sizes) of a row."""

Measure = Callable[[int], Iterator[Found]]
"""The rows of a seed."""


def sendings(name: str, codes: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """(setting, what arrives of each code): by budgets, then by deadlines over the trace."""
    for budget in (*BUDGETS, None):
        yield setting_of(name, budget), [code[:budget] for code in codes]
    for interference, deadline in product(Interference, DEADLINES_MS):
        setting = f"{name} @ {deadline} ms, {interference.value} interference"
        yield setting, [_arrived(code, i, interference, deadline) for i, code in enumerate(codes)]


def _arrived(code: bytes, picture: int, interference: Interference, deadline_ms: int) -> bytes:
    start_s = picture * PICTURES_EVERY_S
    return send(
        code, _links()[picture % 2], interference, deadline_ms / 1000, start_s, picture=picture
    ).code


@cache
def _links() -> tuple[Link, ...]:
    """Both places of the trace."""
    section = LinkSection(rows=TRACE.read_text(encoding="utf-8"), period_s=TRACE_PERIOD_S)
    return tuple(Link.of(section, member, member, 0) for member in range(2))


def code_means(codes: list[bytes]) -> tuple[float, float]:
    """Bytes of a code, and of the blocks that carry it; no code, no block."""
    blocks = [sum(map(len, split(code, 0))) if code else 0 for code in codes]
    return float(np.mean([len(code) for code in codes])), float(np.mean(blocks))
