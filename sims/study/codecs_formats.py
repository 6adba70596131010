"""Codes by picture formats: a file at one quality, and a progressive one cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedtiny.codecs.picture_files import PictureFormat, cut, payload_bytes, read, write
from fedtiny.codecs.server.fitting import Pictures, right
from fedtiny.seeding import rng
from sims.study.codecs_shared import (
    BUDGETS,
    Found,
    Measure,
    Sizes,
    pictures,
    retrained,
    sendings,
)

STILL = ((13, 4), (25, 4), (5, 2))
"""(quality, how many times smaller in height and width) of JPEG: no fewer bytes than the VAE codec
has at each of its rates."""
PROGRESSIVE_QUALITY = 10


def still(quality: int, shrink: int = 1) -> Measure:
    """JPEG at one quality, by a classifier that has gone on learning on its pictures."""

    def measure(seed: int) -> Iterator[Found]:
        (training, test), kind = pictures(), PictureFormat.JPEG
        files = [write(_smaller(x, shrink), kind, quality) for x in test.data.x]
        seen = _read(test, files, shrink)
        files_ = [write(_smaller(x, shrink), kind, quality) for x in training.data.x]
        learned = _read(training, files_, shrink)
        accuracy = float(right(retrained(seed, learned), seen.x, seen.y).mean())
        yield quality_name(quality, shrink), *_file_means(files), accuracy, Sizes()

    return measure


def quality_name(quality: int, shrink: int) -> str:
    """Of a setting."""
    return f"quality {quality}" if shrink == 1 else f"1/{shrink} size quality {quality}"


def progressive(quality: int) -> Measure:
    """Progressive JPEG cut at every budget; one classifier retrained on cuts anywhere."""

    def measure(seed: int) -> Iterator[Found]:
        (training, test), kind = pictures(), PictureFormat.PROGRESSIVE_JPEG
        cuts = rng(seed, "cuts").choice(BUDGETS, len(training.data))
        whole = [write(x, kind, quality) for x in training.data.x]
        learned = _read(training, [cut(one, int(n)) for one, n in zip(whole, cuts, strict=True)])
        reader = retrained(seed, learned)
        whole = [write(x, kind, quality) for x in test.data.x]
        codes = [bytes(payload_bytes(file)) for file in whole]
        for setting, sent in sendings(f"quality {quality}", codes):
            files = [cut(file, len(code)) for file, code in zip(whole, sent, strict=True)]
            seen = _read(test, files)
            accuracy = float(right(reader, seen.x, seen.y).mean())
            yield setting, *_file_means(files), accuracy, Sizes()

    return measure


def _file_means(files: list[bytes]) -> tuple[float, float]:
    """Bytes of a payload, and of a file."""
    payloads = [payload_bytes(file) for file in files]
    return float(np.mean(payloads)), float(np.mean([len(file) for file in files]))


def _smaller(x: np.ndarray, shrink: int) -> np.ndarray:
    """The mean of every ``shrink``² pixels."""
    channels, height, width = x.shape
    blocks = x.reshape(channels, height // shrink, shrink, width // shrink, shrink)
    means: np.ndarray = np.rint(blocks.mean((2, 4))).astype(np.uint8)
    return means


def _read(pictures_: Pictures, files: list[bytes], shrink: int = 1) -> Pictures:
    channels, height, width = pictures_.data.input_shape
    shape = (channels, height // shrink, width // shrink)
    small = np.stack([read(file, shape) for file in files])
    return pictures_.seen_as(small.repeat(shrink, 2).repeat(shrink, 3))
