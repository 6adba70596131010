"""Flash that an int8 model will take, predicted before there is one, and whether a board has it."""

from __future__ import annotations

from math import prod

from fedtiny.devices.planner import RefusedError
from fedtiny.devices.profile import DeviceProfile
from fedtiny.memory.ledger import format_bytes
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Layer
from fedtiny.sparse.densities import layer_counts

CODE_RESERVE_BYTES = 32 * 1024
"""Flash kept for machine code: kernels and model take 12-16 KB at -O3, start-up the rest."""

_VALUE_BYTES = 1
"""An int8 weight."""
_DELTA_BYTES = 1
"""Distance to the row's previous weight."""
_ROW_BYTES = 2
"""Weights in one output channel (uint16)."""
_CHANNEL_BYTES = 12
"""Bias, multiplier and shift of one output channel (int32 each)."""


class FlashError(RefusedError):
    """A model's weights do not fit a board's flash; the message says by how much."""


def flash_reason(profile: DeviceProfile, graph: Graph, density: float) -> str:
    """Why a board's flash does not hold a model as int8; empty if it does, or is a card.

    Args:
        profile: the board.
        graph: the model, or the part of one.
        density: nnz / prunable weights, in (0, 1].
    """
    has, needs = profile.flash_bytes, estimate_flash_bytes(graph, density)
    if has is None or needs + CODE_RESERVE_BYTES <= has:
        return ""
    code = format_bytes(CODE_RESERVE_BYTES)
    return (
        f"its weights need {format_bytes(needs)} of flash beside {code} for code, it has "
        f"{format_bytes(has)}; lower the density"
    )


def check_flash(profile: DeviceProfile, graph: Graph, density: float) -> None:
    """Raise FlashError if there is a :func:`flash_reason`."""
    if reason := flash_reason(profile, graph, density):
        raise FlashError(f"{profile.name}: {reason}")


def layer_nnz(graph: Graph, density: float) -> dict[str, int]:
    """Weights present per prunable layer when every one has ``density``; at least one each."""
    sizes = {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
    return layer_counts(dict.fromkeys(sizes, density), sizes)


def estimate_flash_bytes(graph: Graph, density: float) -> int:
    """Bytes of the int8 model: each layer in the smaller of its dense and its sparse form.

    The exporter knows smaller forms: it can always do with no more than this.
    """
    nnz = layer_nnz(graph, density)
    return sum(_layer_flash(layer, nnz.get(layer.name)) for layer in graph.layers)


def _layer_flash(layer: Layer, nnz: int | None) -> int:
    size, channels = prod(layer.weight_shape), layer.weight_shape[0]
    weights = size * _VALUE_BYTES
    if nnz is not None:
        weights = min(weights, nnz * (_VALUE_BYTES + _DELTA_BYTES) + channels * _ROW_BYTES)
    return weights + channels * _CHANNEL_BYTES
