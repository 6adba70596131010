"""A sensor in front of a scene: what it is asked for, it averages, converts and sends, counted."""

from __future__ import annotations

import numpy as np

from fedtiny.seeding import rng
from fedtiny.sensing.box import Box
from fedtiny.sensing.pixels import Codes, Light, digitised, pooled, with_read_noise
from fedtiny.sensing.sensor import COORDINATE_BITS, Sensor, SensorError


class Camera:
    """A simulated sensor that looks at one scene.

    Args:
        sensor: what it can do.
        light: uint16 ``(height, width, channels)``.
        noise: σ of the read noise in parts of full scale, see
            :func:`fedtiny.sensing.pixels.with_read_noise`.
        seed: of the noise.

    Attributes:
        sent_bits: both ways: boxes to the sensor, values from it.
        conversions: analogue values made digital.
        peak_bits: of the largest picture sent.

    Raises:
        SensorError: the scene has another size.
    """

    def __init__(self, sensor: Sensor, light: Light, noise: float = 0.0, seed: int = 0) -> None:
        if light.shape != (sensor.height, sensor.width, sensor.channels):
            raise SensorError(
                f"the scene is {light.shape}, the sensor has "
                f"{(sensor.height, sensor.width, sensor.channels)} (height, width, channels)"
            )
        self._sensor, self._light = sensor, light
        self._noise, self._generator = noise, rng(seed, "read noise")
        self.sent_bits = self.conversions = self.peak_bits = 0

    def read_pooled(self, pooling: int, grey: bool) -> Codes:
        """Stage 1: the frame averaged before it is converted, ``(H/k, W/k, c1)``."""
        self._sensor.pooled_shape(pooling, grey)
        return self._convert(pooled(self._light, pooling, grey))

    def read_box(self, box: Box) -> Codes:
        """Stage 2: a box at full resolution, ``(h, w, C)``."""
        self._sensor.check(box)
        self.sent_bits += 4 * COORDINATE_BITS
        return self._convert(self._light[box.y : box.bottom, box.x : box.right])

    def _convert(self, light: Light) -> Codes:
        codes = digitised(with_read_noise(light, self._noise, self._generator), self._sensor.bits)
        sent = packed(codes, self._sensor.bits)
        self.sent_bits += len(sent)
        self.peak_bits = max(self.peak_bits, len(sent))
        self.conversions += codes.size
        return codes


def packed(codes: Codes, bits: int) -> Codes:
    """What goes over the wire: the low ``bits`` bits of every code, a uint8 0 or 1 each.

    >>> packed(np.array([5, 2], np.uint8), 3).tolist()
    [1, 0, 1, 0, 1, 0]
    """
    return np.unpackbits(codes.reshape(-1, 1), axis=1)[:, 8 - bits :].ravel()
