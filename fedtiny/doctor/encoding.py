"""Whether a board may send its pictures as a few bytes, for a server to classify."""

from __future__ import annotations

from fedtiny.codecs.encoders import pnc_encoder
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.folding import folded_shape
from fedtiny.devices.flash import CODE_RESERVE_BYTES, estimate_flash_bytes
from fedtiny.devices.profile import DeviceProfile
from fedtiny.doctor.arena import estimate_arena_bytes
from fedtiny.doctor.modes import Mode, Verdict
from fedtiny.memory.ledger import format_bytes
from fedtiny.models.graph import Graph


def encoding(profile: DeviceProfile, graph: Graph) -> Verdict:
    """The verdict on PNC's encoder, int8, whatever the model is: only its input counts.

    Args:
        profile: the board.
        graph: the model that the server has.

    >>> from dataclasses import replace
    >>> from fedtiny.devices.catalog import get
    >>> from fedtiny.models import resnet8
    >>> graph = resnet8((1, 28, 28), 10)
    >>> encoding(get("nrf52840"), graph).why
    'nrf52840: its raw data may not leave it (raw_data_may_leave = false)'
    >>> open_tag = replace(get("nrf52840"), raw_data_may_leave=True)
    >>> encoding(open_tag, graph).fits
    True
    >>> encoding(open_tag, resnet8((1, 30, 30), 10)).why[:75]
    'nrf52840: a codec takes pictures whose height and width are multiples of 4,'
    """
    if reason := _forbidden(profile, graph):
        return Verdict(Mode.ENCODE, False, {}, profile.ram_bytes, "", f"{profile.name}: {reason}")
    encoder = pnc_encoder(graph.input_shape)
    sizes = {
        "flash": estimate_flash_bytes(encoder, 1.0),
        "arena": estimate_arena_bytes(encoder),
    }
    why = _too_small(profile, sizes)
    how = "" if why else f"{encoder.name}, int8"
    return Verdict(Mode.ENCODE, not why, sizes, profile.ram_bytes, how, why)


def _forbidden(profile: DeviceProfile, graph: Graph) -> str:
    if not profile.raw_data_may_leave:
        return "its raw data may not leave it (raw_data_may_leave = false)"
    if graph.input_shape[1] == 1:
        return "codecs are of pictures, and the model takes time series"
    try:
        folded_shape(graph.input_shape)
    except CodecError as error:
        return str(error)
    return ""


def _too_small(profile: DeviceProfile, sizes: dict[str, int]) -> str:
    flash, ram = profile.flash_bytes, profile.ram_bytes
    if flash is not None and sizes["flash"] + CODE_RESERVE_BYTES > flash:
        return (
            f"{profile.name}: the encoder needs {format_bytes(sizes['flash'])} of flash beside "
            f"{format_bytes(CODE_RESERVE_BYTES)} for code, it has {format_bytes(flash)}"
        )
    if sizes["arena"] > ram:
        return (
            f"{profile.name}: the encoder's activations need {format_bytes(sizes['arena'])} of "
            f"RAM, it has {format_bytes(ram)}; pool the picture first"
        )
    return ""
