"""A device that can train nothing sends its test pictures as a few bytes each, if it may."""

from __future__ import annotations

import numpy as np

from clients.device import Device
from fedtiny.codecs.encoders import pnc_encoder
from fedtiny.codecs.task import EncodeTask
from fedtiny.devices.fleet import profile_of
from fedtiny.doctor.encoding import encoding
from fedtiny.wire.encode import EncodeResult
from fedtiny.wire.packet import Packet


def encode(device: Device, packet: Packet) -> Packet:
    """The codes of its test pictures; or why it sends none."""
    if reason := _refusal(device):
        return EncodeResult((), np.zeros(0, np.int64), reason).packet()
    task, test = EncodeTask.read(pnc_encoder(device.graph.input_shape), packet), device.data.test
    codes = tuple(map(task.half.encode, test.x))
    return EncodeResult(codes, test.y).packet()


def _refusal(device: Device) -> str:
    if not device.board:
        return "a device without a board says nowhere that its raw data may leave it"
    profile = profile_of(device.config, device.partition, device.board)
    return encoding(profile, device.graph).why
