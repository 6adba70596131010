"""Whether a microcontroller may adapt a model in its own C: int8 network, float32 learner.

The way for boards whose memory no float32 step fits; ``fedtiny export --learn METHOD`` writes it.
"""

from __future__ import annotations

from functools import lru_cache

from fedtiny.bench import synthetic
from fedtiny.config.adapt import MethodName
from fedtiny.devices.profile import DeviceProfile
from fedtiny.doctor.modes import OFFERED, Mode, Verdict
from fedtiny.errors import FedTinyError
from fedtiny.export.report import COUNT_BYTES
from fedtiny.firmware.planner import target_of
from fedtiny.firmware.side_net import SideNet
from fedtiny.learn.fitting import fit_learning
from fedtiny.learn.net import side_net
from fedtiny.models.graph import Graph
from fedtiny.quant.integer_model import IntegerGraph


def learning(profile: DeviceProfile, graph: Graph, density: float) -> Verdict:
    """The verdict, by plans of an exported project of drawn weights.

    Args:
        profile: the board.
        graph: the model.
        density: nnz / prunable weights, in (0, 1].

    >>> from fedtiny.devices.catalog import get
    >>> from fedtiny.models import smartwatch_cnn
    >>> found = learning(get("nrf52840"), smartwatch_cnn((6, 1, 128), 7), 0.05)
    >>> found.fits, found.how, found.peak_bytes < 96 * 1024
    (True, 'repnet_one_way beside int8, in C', True)
    """
    if not profile.runs:
        why = f"{profile.name}: it runs no exported C"
        return Verdict(Mode.ADAPT, False, {}, profile.ram_bytes, "", why)
    reasons = list[str]()
    for method in OFFERED:
        lines, reason = _lines(profile, graph, density, method)
        if not reason:
            how = f"{method.value} beside int8, in C"
            return Verdict(Mode.ADAPT, True, lines, profile.ram_bytes, how, "")
        reasons.append(f"{method.value} in C: {reason}")
    return Verdict(Mode.ADAPT, False, {}, profile.ram_bytes, "", "; ".join(reasons))


def _lines(
    profile: DeviceProfile, graph: Graph, density: float, method: MethodName
) -> tuple[dict[str, int], str]:
    try:
        model, side = _networks(graph, density, method)
        found = fit_learning(model, side, target_of(profile))
    except FedTinyError as error:
        return {}, str(error)
    lines = {
        "flash": found.plan.flash_bytes + side.flash_bytes,
        "arena": found.plan.arena.nbytes,
        "learner": side.learner_bytes,
        "window": model.input.nbytes * COUNT_BYTES,
    }
    return lines, "; ".join(found.problems)


@lru_cache(maxsize=32)
def _networks(graph: Graph, density: float, method: MethodName) -> tuple[IntegerGraph, SideNet]:
    model = synthetic.integer_model(graph, density)
    return model, side_net(graph, synthetic.float_model(graph, density), model, method, 0)
