"""Light, averages of light, and the codes that a converter makes of them: integers throughout.

Light is a uint16 array ``(H, W, C)``, 0 dark and 65535 the converter's full scale.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Light = npt.NDArray[np.uint16]
Codes = npt.NDArray[np.uint8]

FULL_SCALE = 65_535


def pooled(light: Light, pooling: int, grey: bool) -> Light:
    """Means over squares of ``pooling`` × ``pooling`` pixels, halves up.

    Args:
        light: ``(H, W, C)``, H and W multiples of ``pooling``.
        pooling: k.
        grey: over all channels, too; there is one rounding.

    >>> pooled(np.array([[[1], [2]], [[2], [1]]], np.uint16), 2, grey=False).tolist()
    [[[2]]]
    """
    height, width, channels = light.shape
    cells = light.reshape(height // pooling, pooling, width // pooling, pooling, channels)
    sums, count = cells.sum(axis=(1, 3), dtype=np.uint64), pooling * pooling
    if grey:
        sums, count = sums.sum(axis=2, keepdims=True), count * channels
    means: Light = ((2 * sums + count) // (2 * count)).astype(np.uint16)
    return means


def with_read_noise(light: Light, deviation: float, generator: np.random.Generator) -> Light:
    """Light as the converter sees it: Gaussian noise, rounded, once for every value it converts.

    Args:
        light: what is converted, averages included.
        deviation: σ of the noise in parts of full scale; 0 for none.
        generator: drawn from only if there is noise.
    """
    if deviation == 0:
        return light
    noise = np.rint(generator.normal(0.0, deviation * FULL_SCALE, light.shape))
    return np.clip(light + noise, 0, FULL_SCALE).astype(np.uint16)


def digitised(light: Light, bits: int) -> Codes:
    """Codes of ``bits`` bits: round(light · (2^bits − 1) / 65535), halves up.

    >>> digitised(np.array([0, 128, 129, 65535], np.uint16), 8).tolist()
    [0, 0, 1, 255]
    """
    top = (1 << bits) - 1
    scaled = 2 * light.astype(np.uint32) * np.uint32(top) + np.uint32(FULL_SCALE)
    return (scaled // np.uint32(2 * FULL_SCALE)).astype(np.uint8)


def as_light(codes: Codes) -> Light:
    """Light that 8-bit codes stand for: 257 times each.

    >>> digitised(as_light(np.array([0, 7, 255], np.uint8)), 8).tolist()
    [0, 7, 255]
    """
    return codes.astype(np.uint16) * np.uint16(257)
