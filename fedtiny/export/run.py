"""From a finished run to firmware: quantize, write the C project, check it, score it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedtiny.boards import host, learned
from fedtiny.config import RunConfig
from fedtiny.data.dataset import Dataset, SensorSpec, concatenate
from fedtiny.data.samples import Samples
from fedtiny.data.simulated import Federation, deal
from fedtiny.devices.budget import engine_of
from fedtiny.devices.catalog import get
from fedtiny.errors import FedTinyError
from fedtiny.escaping.c_prefix import check_prefix, prefix_of
from fedtiny.export.bundle import export
from fedtiny.export.report import FirmwareReport
from fedtiny.firmware import load
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.planner import (
    ANY_CORTEX_M4,
    Fit,
    Target,
    fit,
    target_of,
    target_of_core,
)
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ptq import quantize
from fedtiny.quant.tensors import Int16s
from fedtiny.runs import atomic, identity
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.training.engine import TrainingEngine

EXPORT_JSON = "export.json"
"""File of a run folder with what the last export found."""


Predict = Callable[[Int16s], npt.NDArray[np.int64]]
"""int16 ``(N, C, H, W)`` sensor counts to the class of each window, ``(N,)``."""


@dataclass(frozen=True, slots=True)
class TestSets:
    """What a finished model is scored on.

    Attributes:
        same_people: every participant's test samples. Only a simulation can gather them: in a
            deployment they never leave their device.
        unseen_people: of people who took no part.
    """

    same_people: Dataset
    unseen_people: Dataset

    @property
    def all(self) -> Dataset:
        """Both, in this order: the firmware's test vectors."""
        return concatenate((self.same_people, self.unseen_people))


class Learning(Protocol):
    """What an exported model learns on the device, besides."""

    def fit(self, trained: TrainedModel, target: Target) -> Fit:
        """The plan of the model with what it learns."""
        ...

    def lessons(self, plan: ExportPlan, tests: TestSets) -> bytes:
        """What the project checks its learning with."""
        ...


def fit_run(
    folder: RunFolder,
    device: str | None = None,
    core: str | None = None,
    place: RunFolder | None = None,
    learning: Learning | None = None,
    weight_bits: int | None = None,
) -> Fit:
    """How a finished run's model fits a board, before anything is written.

    Args:
        folder: with ``model.safetensors``.
        place: of another of its models instead, see :func:`fedtiny.export.places.place_of`.
        device: a board of the catalogue, whose core the plan is for.
        core: in place of a board: a core without limits; by default a Cortex-M4.
        learning: what it learns on the device, if anything.
        weight_bits: of sparse layers, 4 or 8; None for the config's.

    Raises:
        FedTinyError: no such run, board or core, both of them, a model that cannot be quantized,
            or cannot learn.
    """
    config = folder.load_config()
    bits = config.export.weight_bits if weight_bits is None else weight_bits
    target = target_for(config.devices.catalog, device, core)
    trained = TrainedModel.load((place or folder).model)
    if learning is None:
        return fit(integer_model(trained, bits), target)
    if bits != 8:
        raise FedTinyError(
            f"what learns on a board starts from weights of 8 bits, not {bits}: --weight-bits 8"
        )
    return learning.fit(trained, target)


def target_for(catalog: str, device: str | None, core: str | None) -> Target:
    """What a plan is made for.

    Args:
        catalog: a file with boards of the user's own; empty for none.
        device: a board, whose core the plan is for.
        core: in place of a board: a core without limits; by default a Cortex-M4.

    Raises:
        FedTinyError: no such board or core, or both.
    """
    if device is not None and core is not None:
        raise FedTinyError(
            f"--device {device} has a core of its own; give either --device or --core"
        )
    if device is not None:
        return target_of(get(device, catalog))
    return ANY_CORTEX_M4 if core is None else target_of_core(core)


def export_run(
    folder: RunFolder,
    check: bool = True,
    fitted: Fit | None = None,
    prefix: str = "",
    accept: Collection[Part] = (),
    place: RunFolder | None = None,
    learning: Learning | None = None,
) -> dict[str, Any]:
    """Export a finished simulation's model to its ``firmware/`` and record the outcome.

    It is scored on every device's test samples, which only the simulator has; what was trained
    on real devices is exported by :func:`export_model`.

    Args:
        folder: with ``config.toml`` and ``model.safetensors``.
        check: build the C project on this host and compare every test sample.
        fitted: from :func:`fit_run`: this plan is written; by default that for any Cortex-M4.
        prefix: of the model's names in C; empty for the config's, or else one made from the run's
            name.
        accept: what may differ from what the run was begun with, or left.
        place: of another of its models instead, see :func:`fedtiny.export.places.place_of`; its
            project and its outcome go there.
        learning: that of ``fitted``, if it was given.

    Returns:
        What ``export.json`` holds: accuracies of the float model and of the compiled C (unchecked:
        of the integer reference), vectors and mismatches of the check (``None`` if unchecked),
        sizes, layers, and lessons and their mismatches of a project that learns.

    Raises:
        DoesNotFitError: the model does not fit the board of ``fitted``.
        IdentityError: config, model, samples or code are not those of the run.
        FedTinyError: no such run, a model that cannot be quantized, or no compiler.
    """
    started = time.monotonic()
    config = folder.load_config()
    prefix = check_prefix(prefix) if prefix else own_prefix(config)
    federation = deal(config.data, config.seed)
    identity.verify(folder, accept, federation.digest)
    place = place or folder
    fitted = fitted or fit_run(folder, place=place, learning=learning)
    plan = fitted.require()
    trained, tests = TrainedModel.load(place.model), test_sets(federation)
    integer, engine = plan.model, engine_of(config)
    vectors, interface = counts(tests.all), sensor_interface(trained.labels, trained.sensor, prefix)
    lessons = learning.lessons(plan, tests) if learning else b""
    firmware = export(plan, place.firmware, vectors, interface, fitted.target, lessons=lessons)
    result = host.check(place.firmware) if check else None
    taught = learned.check(place.firmware) if check and learning else None
    predict = predictor(integer, place.firmware, check)
    found = {
        "float": {name: float_accuracy(trained, engine, data) for name, data in _named(tests)},
        "int8": {name: int8_accuracy(predict, data) for name, data in _named(tests)},
        **outcome(fitted.target, firmware, result),
        "lessons": taught and taught.lessons,
        "lesson_mismatches": taught and taught.mismatches,
        "seconds": time.monotonic() - started,
    }
    atomic.write(place.path / EXPORT_JSON, json.dumps(found, indent=1) + "\n")
    return found


def own_prefix(config: RunConfig) -> str:
    """Of the model's names in C, where the command line names none."""
    return config.export.prefix or prefix_of(config.name)


def outcome(
    target: Target, firmware: FirmwareReport, result: host.CheckResult | None
) -> dict[str, Any]:
    """What ``export.json`` holds, accuracies and time aside.

    Args:
        target: of the plan.
        firmware: what was written.
        result: of the check, if there was one.
    """
    return {
        "target": target.name,
        **asdict(firmware),
        "vectors": result.vectors if result else None,
        "mismatches": result.mismatches if result else None,
    }


def integer_model(trained: TrainedModel, weight_bits: int = 8) -> IntegerGraph:
    """The trained model in int8, calibrated on the devices' own ranges.

    Args:
        trained: of a run.
        weight_bits: of its sparse layers, 4 or 8.
    """
    parts = (trained.graph, trained.model, trained.normalization, trained.ranges)
    return quantize(*parts, weight_bits=weight_bits)


def test_sets(federation: Federation) -> TestSets:
    """The test samples of a simulated run, dealt anew: only who owns all data has them."""
    same = concatenate(tuple(client.test for client in federation.clients))
    return TestSets(same, federation.server.unseen)


def counts(data: Dataset) -> Int16s:
    """Sensor counts as the exported model takes them: int16 ``(N, C, H, W)``."""
    return data.x.astype(np.int16)


def sensor_interface(labels: tuple[str, ...], sensor: SensorSpec, prefix: str) -> SensorInterface:
    """Names for people in the exported header, and the prefix of the C names."""
    units = (f"{scale:g} {unit}" for unit, scale in zip(sensor.units, sensor.scale, strict=True))
    return SensorInterface(labels, sensor.channels, tuple(units), prefix)


def float_accuracy(trained: TrainedModel, engine: TrainingEngine, data: Dataset) -> float:
    """Share of ``data`` the float model labels correctly."""
    trainer = engine.evaluator(trained.graph, trained.model)
    return trainer.evaluate(Samples(data, trained.normalization)).correct / len(data)


def int8_accuracy(predict: Predict, data: Dataset) -> float:
    """Share of ``data`` that an int8 model labels correctly."""
    return float(np.mean(predict(counts(data)) == data.y))


def predictor(model: IntegerGraph, project: Path, checked: bool) -> Predict:
    """What classifies as the firmware does: its C if this host checked it, else the reference."""
    return load(project).predict if checked else partial(_reference_classes, model)


def _reference_classes(model: IntegerGraph, windows: Int16s) -> npt.NDArray[np.int64]:
    classes: npt.NDArray[np.int64] = reference.run(model, windows).argmax(axis=1)
    return classes


def _named(tests: TestSets) -> tuple[tuple[str, Dataset], ...]:
    return (("same_people", tests.same_people), ("unseen_people", tests.unseen_people))
