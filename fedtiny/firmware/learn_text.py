"""Variables of the templates of what is learned on the device."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from markupsafe import Markup

from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.render import Context
from fedtiny.firmware.side_net import PooledMap, SideNet
from fedtiny.firmware.text import Array, real, wrap

MAGIC = 0x314C5446
"""``"FTL1"``: of weights that were learned, in a slot of flash."""


def learn_context(plan: ExportPlan, side: SideNet, arrays: Sequence[Array]) -> Context:
    """Variables under the name ``learn``.

    Args:
        plan: with ``side``.
        side: what is learned.
        arrays: all constants of the model: weights learned beside others are refused.
    """
    identity = _identity(side, arrays)
    return {
        "method": side.method,
        "parameters": side.parameters,
        "slot_bytes": side.slot_bytes,
        "learner_bytes": side.learner_bytes,
        "rate": real(side.rate),
        "magic": _word(MAGIC),
        "identity": _word(identity),
        "crc": _word(zlib.crc32(image(side, identity, 0))),
        "literals": Markup(wrap(real(value) for value in side.start.tolist())),
        "net": _net(plan, side),
    }


def image(side: SideNet, identity: int, sequence: int) -> bytes:
    """What the CRC-32 of the untrained start is taken of: little-endian, as on every Cortex-M."""
    words = np.array([MAGIC, identity, sequence], "<u4").tobytes()
    return words + side.start.astype("<f4").tobytes()


def _identity(side: SideNet, arrays: Sequence[Array]) -> int:
    blocks = [(name, *shape) for name, shape in side.blocks.items()]
    maps = [rung.map for rung in side.rungs]
    described = repr((side.method, blocks, maps, [array.crc for array in arrays]))
    return zlib.crc32(described.encode())


def _net(plan: ExportPlan, side: SideNet) -> dict[str, Any]:
    steps = {step.node.name: i for i, step in enumerate(plan.steps)}
    offsets, positions = plan.arena.offsets, side.positions
    rungs = [
        {
            "step": steps[rung.map.tensor],
            "map": offsets[rung.map.tensor],
            "pooled": offsets[f"learn pooled {k}"],
            "active": offsets[f"learn active {k}"],
            "pool": _pool(rung.map),
            "conv": [*rung.map.size, rung.map.shape[0], rung.outputs, rung.groups, *rung.kernel],
            "weight": positions[f"weight {k}"],
            "bias": positions[f"bias {k}"],
        }
        for k, rung in enumerate(side.rungs)
    ]
    places = {
        name.replace(" ", "_"): offsets.get(f"learn {name}", 0)
        for name in ("x", "x gradient", "ladder", "ladder gradient", "logits")
    }
    parts = {
        name.replace(" ", "_"): positions.get(name, 0)
        for name in ("out weight", "out bias", "head weight", "head bias")
    }
    tensor = side.features.tensor
    return {
        "rungs": rungs,
        "features_step": steps[tensor],
        "features_map": offsets[tensor],
        "features": _pool(side.features),
        "feature_count": prod(side.features.shape),
        "middle": side.middle,
        **places,
        **parts,
    }


def _pool(read: PooledMap) -> list[object]:
    """The fields of ``fedtiny_learn_pool``, in order."""
    channels, height, width = read.shape
    return [height, width, channels, *read.kernel, read.zero_point, Markup(real(read.scale))]


def _word(value: int) -> Markup:
    return Markup(f"UINT32_C(0x{value:08X})")
