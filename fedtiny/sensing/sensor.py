"""What a sensor can do, and what it costs to ask it: bits, conversions and bytes by formula.

The front end of Reidy et al., "HiRISE: High-Resolution Image Scaling for Edge ML via In-Sensor
Compression and Selective ROI" (DAC 2024): stage 1 reads the whole frame averaged over squares of
k × k pixels, stage 2 reads boxes of it at full resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from fedtiny.errors import FedTinyError
from fedtiny.sensing.box import Box

MAX_SIDE = 65_535
MAX_BITS = 8
"""A value is at most a byte: what the C side holds."""

MAX_POOLING = 64
"""64² pixels of 4 channels, 16 bits each, add up within 32 bits."""

COORDINATE_BITS = 16
"""Of each of a box's four numbers on their way to the sensor."""


class SensorError(FedTinyError):
    """A sensor, a frame or a box that cannot be; the message says what can."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """One image sensor.

    Attributes:
        width, height: pixels.
        channels: values of one pixel, 1 to 4.
        bits: p of one converted value, 1 to 8.
        poolings: the k it averages over, ascending; each divides both sides.
        grey: whether it averages channels too, on request.

    Raises:
        SensorError: a number out of range, or a pooling that divides a side with a remainder.

    >>> Sensor(320, 240, 3, 8, (1, 2, 4, 8)).pooled_shape(8, grey=True)
    (30, 40, 1)
    """

    width: int
    height: int
    channels: int = 3
    bits: int = 8
    poolings: tuple[int, ...] = (1,)
    grey: bool = True

    def __post_init__(self) -> None:
        for what, number, most in (
            ("width", self.width, MAX_SIDE),
            ("height", self.height, MAX_SIDE),
            ("channels", self.channels, 4),
            ("bits", self.bits, MAX_BITS),
        ):
            if not 1 <= number <= most:
                raise SensorError(f"sensor.{what} must be within 1 and {most}, not {number}")
        if not self.poolings or list(self.poolings) != sorted(set(self.poolings)):
            raise SensorError(
                f"sensor.poolings must ascend and not be empty, not {list(self.poolings)}"
            )
        for k in self.poolings:
            if not 1 <= k <= MAX_POOLING or self.width % k or self.height % k:
                raise SensorError(
                    f"sensor.poolings: {k} has to be within 1 and {MAX_POOLING} and to divide "
                    f"{self.width} and {self.height}"
                )

    def pooled_shape(self, pooling: int, grey: bool) -> tuple[int, int, int]:
        """(height, width, channels) of the frame averaged over ``pooling`` × ``pooling`` pixels.

        Raises:
            SensorError: the sensor does not average so.
        """
        if pooling not in self.poolings:
            known = ", ".join(map(str, self.poolings))
            raise SensorError(f"the sensor averages over k in {known}, not {pooling}")
        if grey and not self.grey:
            raise SensorError("the sensor does not average channels; read it with grey=False")
        return self.height // pooling, self.width // pooling, 1 if grey else self.channels

    @property
    def frame_bits(self) -> int:
        """D0 = c·n·m·p: the whole frame at full resolution."""
        return self.channels * self.width * self.height * self.bits

    def pooled_bits(self, pooling: int, grey: bool) -> int:
        """S1 = c1·n·m·p / k²."""
        return prod(self.pooled_shape(pooling, grey)) * self.bits

    def box_bits(self, box: Box) -> int:
        """c·p·w·h of one box at full resolution.

        Raises:
            SensorError: it leaves the frame.
        """
        self.check(box)
        return self.channels * self.bits * box.area

    def check(self, box: Box) -> None:
        """Raise SensorError unless ``box`` lies within the frame."""
        if box.right > self.width or box.bottom > self.height:
            raise SensorError(
                f"{box} leaves the frame of {self.width} × {self.height} pixels; clip it first"
            )


@dataclass(frozen=True, slots=True)
class Reading:
    """One frame read in two stages: the formulas.

    Attributes:
        sensor: that is read.
        pooling: k of stage 1.
        grey: whether stage 1 averages channels.
        boxes: read in stage 2; pixels of two boxes count twice.

    >>> sensor = Sensor(2560, 1920, 3, 8, (8,))
    >>> one = Reading(sensor, 8, False, (Box(0, 0, 448, 448),))
    >>> round(one.gain, 2), round(one.peak_gain, 1)
    (17.71, 24.5)
    """

    sensor: Sensor
    pooling: int
    grey: bool
    boxes: Sequence[Box] = ()

    @property
    def box_image_bits(self) -> int:
        """S2 = c·p·Σ w·h."""
        return sum(map(self.sensor.box_bits, self.boxes))

    @property
    def pooled_bits(self) -> int:
        """S1 = c1·n·m·p / k²."""
        return self.sensor.pooled_bits(self.pooling, self.grey)

    @property
    def transfer_bits(self) -> int:
        """D = S1 + 4·b·J + S2, with b = :data:`COORDINATE_BITS` for each of 4 numbers a box."""
        return self.pooled_bits + 4 * COORDINATE_BITS * len(self.boxes) + self.box_image_bits

    @property
    def conversions(self) -> int:
        """c1·n·m / k² + c·Σ w·h analogue values made digital."""
        return (self.pooled_bits + self.box_image_bits) // self.sensor.bits

    @property
    def peak_image_bits(self) -> int:
        """max(S1, c·p·max w·h): the largest picture in memory at a time."""
        return max(self.pooled_bits, *map(self.sensor.box_bits, self.boxes), 0)

    @property
    def gain(self) -> float:
        """1 / (c1 / (c·k²) + f) with f = Σ w·h / (n·m): D0 over S1 + S2, coordinates aside.

        >>> Reading(Sensor(320, 240), 1, False, (Box(0, 0, 32, 32),)).gain < 1
        True
        """
        images = self.pooled_bits + self.box_image_bits
        return float(Fraction(self.sensor.frame_bits, images))

    @property
    def transfer_gain(self) -> float:
        """D0 / D: coordinates included."""
        return self.sensor.frame_bits / self.transfer_bits

    @property
    def peak_gain(self) -> float:
        """The frame's bits over those of the largest picture in memory."""
        return self.sensor.frame_bits / self.peak_image_bits
