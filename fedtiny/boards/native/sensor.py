"""The C readers of a sensor compiled for this host, called on a frame: how tests reach them."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, Structure, byref, c_bool, c_int32, c_void_p
from pathlib import Path
from typing import ClassVar

import numpy as np

from fedtiny.boards.native.types import Context, Guarded, Tile, check_status
from fedtiny.sensing.box import Box
from fedtiny.sensing.pixels import Codes, Light
from fedtiny.sensing.sensor import Sensor

_Line = CFUNCTYPE(c_void_p, c_void_p, c_int32)


class _Sensor(Structure):
    _fields_: ClassVar = [
        *((name, c_int32) for name in ("width", "height", "channels", "bits")),
        ("line", _Line),
        ("context", c_void_p),
    ]


class _Box(Structure):
    _fields_: ClassVar = [(name, c_int32) for name in ("x", "y", "w", "h")]


class SensorReader:
    """``fedtiny_sensor_read_*`` of a library, on one frame whose lines come through a callback.

    Args:
        library: path of a shared object with them.
        sensor: what is read.
        light: uint16 ``(height, width, channels)``.

    Attributes:
        structure: the sensor as C has it.
        rows: that the last call asked for, in order.
    """

    def __init__(self, library: Path, sensor: Sensor, light: Light) -> None:
        self._library = ctypes.CDLL(str(library))
        self._shape = light.shape
        self._light = np.ascontiguousarray(light)
        self._line = np.zeros(light.shape[1:], np.uint16)
        self._callback = _Line(self._next)
        self.rows: list[int] = []
        self.structure = _Sensor(
            sensor.width, sensor.height, sensor.channels, sensor.bits, self._callback, None
        )

    def read_pooled(self, pooling: int, grey: bool, scratch_bytes: int | None = None) -> Codes:
        """``fedtiny_sensor_read_pooled``; scratch by default as it asks for.

        Raises:
            KernelError: it refuses, or writes beyond its output or scratch.
        """
        height, width, channels = self._shape
        side = max(pooling, 1)
        shape = (height // side, width // side, 1 if grey else channels)
        arguments = (c_int32(pooling), c_bool(grey))
        return self._scratched("fedtiny_sensor_read_pooled", arguments, shape, scratch_bytes)

    def read_roi(self, box: Box) -> Codes:
        """``fedtiny_sensor_read_roi``; raises as :meth:`read_pooled`."""
        shape = (box.height, box.width, self._shape[2])
        return self._call("fedtiny_sensor_read_roi", (), (byref(_box(box)),), shape)

    def read_roi_scaled(
        self, box: Box, size: tuple[int, int], grey: bool, scratch_bytes: int | None = None
    ) -> Codes:
        """``fedtiny_sensor_read_roi_scaled`` to ``size``, (height, width)."""
        shape = (*size, 1 if grey else self._shape[2])
        arguments = (byref(Tile(w=size[1], h=size[0])), c_bool(grey))
        name = "fedtiny_sensor_read_roi_scaled"
        return self._scratched(name, arguments, shape, scratch_bytes, (byref(_box(box)),))

    def _next(self, _context: int | None, row: int) -> int:
        self.rows.append(row)
        self._line[:] = self._light[row]
        return int(self._line.ctypes.data)

    def _scratched(
        self,
        name: str,
        arguments: tuple[object, ...],
        shape: tuple[int, int, int],
        scratch_bytes: int | None,
        before: tuple[object, ...] = (),
    ) -> Codes:
        if scratch_bytes is None:
            size = getattr(self._library, f"{name}_get_buffer_size")
            scratch_bytes = int(size(byref(self.structure), *arguments))
        scratch = Guarded(scratch_bytes)
        context = Context(scratch.address, scratch_bytes)
        codes = self._call(name, (byref(context),), (*before, *arguments), shape)
        scratch.check(f"{name}: scratch")
        return codes

    def _call(
        self,
        name: str,
        before: tuple[object, ...],
        after: tuple[object, ...],
        shape: tuple[int, int, int],
    ) -> Codes:
        self.rows = []
        output = Guarded(int(np.prod(shape)))
        status = getattr(self._library, name)(
            *before, byref(self.structure), *after, c_void_p(output.address)
        )
        output.check(f"{name}: output")
        check_status(name, status)
        return output.values().view(np.uint8).reshape(shape)


def _box(box: Box) -> _Box:
    return _Box(box.x, box.y, box.width, box.height)
