"""What a run will cost, said before it starts: FLOPs, bytes sent up, hours on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from fedtiny.config import RunConfig
from fedtiny.data.simulated import Summary, summarize
from fedtiny.devices.budget import engine_of
from fedtiny.memory.step import StepPlan
from fedtiny.models.cost import forward_macs, training_flops
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.narrow import value_bytes
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.seeding import rng
from fedtiny.training.choice import dense_engine
from fedtiny.training.engine import TrainingEngine
from fedtiny.training.masked.engine import MaskedDense
from fedtiny.training.trainer import SgdConfig
from sims.backends import Backend
from sims.pipeline import dense_config

LONG_S = 600.0
"""A run that could take longer is timed before it starts."""

CAUTIOUS_FLOPS_PER_S = 5e9
"""A core's rate in the worst case; ``make bench`` measured 16e9 and more."""

_BATCH = 64  # samples of a timed step …
_STEP_FLOPS = 20e9  # … but on the CPU no more than this: a fraction of a second
_TIMED_S = 0.5


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of a run, its dense reference included.

    Attributes:
        flops: of the parts of :class:`Work`.
        uplink_bytes: values of weights and statistics that devices send, without masks' changes,
            gradients and Flower's framing.
        workers: processes that train at the same time.
        seconds: of computing on this machine; ``None`` if a run is too short to be timed first.
    """

    flops: int
    uplink_bytes: int
    workers: int
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Every attribute, by name."""
        return asdict(self)

    def __str__(self) -> str:
        took = f"less than {LONG_S / 60:.0f} minutes"
        if self.seconds is not None:
            took = f"about {_duration(self.seconds)}"
        cores = f"{self.workers} core{'s' if self.workers > 1 else ''}"
        flops, sent = _scaled(self.flops, "FLOP"), _scaled(self.uplink_bytes, "B")
        return f"{took} on this machine ({cores}), {flops}, {sent} sent up"


@dataclass(frozen=True, slots=True)
class Work:
    """FLOPs of one federation, by who does them.

    Training at the planned density, in ERK's layer densities where the method has them or FedTiny
    may select them, else in uniform ones; FedTiny's selection; evaluation. The gradients that
    adjusting asks for, a batch now and then, are left out.

    Attributes:
        devices: by all devices together.
        largest_share: of these, the part of the device with most samples.
        server: evaluation on unseen samples.
        pretraining: of the dense model, on the server.
    """

    devices: int
    largest_share: float
    server: int
    pretraining: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.devices + self.server + self.pretraining


def forecast(
    config: RunConfig, backend: Backend = Backend.RAY, workers: int = 0, long_s: float = LONG_S
) -> Forecast:
    """What ``config`` will cost here.

    A run that may take longer than ``long_s`` is timed: about a second per engine, a training
    step on random samples in this process. What messages, data and Ray take comes on top, and
    so does what cores lose by sharing caches and memory.

    Args:
        config: of the run.
        backend, workers: as for :func:`sims.backends.run_federation`.
        long_s: 0 times every run.

    Raises:
        FedTinyError: as :func:`sims.pipeline.preflight`.
    """
    if backend is Backend.INLINE:
        workers = 1
    workers = min(workers or len(os.sched_getaffinity(0)), config.data.partitions)
    samples = summarize(config.data, config.seed)
    runs = [config, dense_config(config)] if config.dense_reference else [config]
    works = [work(run, samples) for run in runs]
    flops = sum(one.total for one in works)
    seconds = None
    if flops > long_s * workers * CAUTIOUS_FLOPS_PER_S:
        seconds = sum(
            _seconds(run, one, samples, workers) for run, one in zip(runs, works, strict=True)
        )
    return Forecast(flops, sum(_uplink(run, samples) for run in runs), workers, seconds)


def work(config: RunConfig, samples: Summary) -> Work:
    """The FLOPs of ``config``, without its dense reference."""
    graph = _graph(config, samples)
    nnz = config.method.planned_counts(graph)
    forward = 2 * forward_macs(graph, nnz)
    train = samples.train
    rounds = config.federation.rounds + config.method.laps
    trained = rounds * config.training.epochs * sum(train) * _participation(config)
    selected = config.method.development_passes * sum(samples.development)
    evaluations = -(-config.federation.rounds // config.federation.evaluate_every)
    tested = evaluations * sum(samples.test)
    watched = tested + selected
    return Work(
        devices=round(trained * training_flops(graph, nnz)) + watched * forward,
        largest_share=max(train) / sum(train),
        server=evaluations * samples.unseen * forward,
        pretraining=config.pretraining.epochs * samples.public * training_flops(graph),
    )


def flops_per_second(engine: TrainingEngine, graph: Graph, nnz: Mapping[str, int]) -> float:
    """Measured: training steps of ``engine`` in this process, ``nnz`` weights kept at random.

    Args:
        engine: that trains.
        graph: the model.
        nnz: weights kept, by prunable layer.
    """
    state = initial_state(graph, rng(0, "forecast weights"))
    weights = {name: state[ParameterKind.WEIGHT.of(name)] for name in nnz}
    model = from_state(graph, state, layer_masks(weights, nnz))
    per_sample = training_flops(graph, nnz)
    batch = _BATCH if _on_gpu(engine) else int(min(_BATCH, max(2, _STEP_FLOPS // per_sample)))
    generator = rng(0, "forecast samples")
    x = generator.standard_normal((batch, *graph.input_shape), dtype=np.float32)
    y = generator.integers(0, graph.classes, batch)
    trainer = engine.trainer(graph, model, SgdConfig(0.01), StepPlan(batch))
    trainer.step(x, y)  # the first also allocates
    steps, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < _TIMED_S:
        trainer.step(x, y)
        steps += 1
    return steps * batch * per_sample / elapsed


def _seconds(config: RunConfig, one: Work, samples: Summary, workers: int) -> float:
    graph, engine = _graph(config, samples), engine_of(config)
    rate = flops_per_second(engine, graph, config.method.planned_counts(graph))
    # Workers that share a GPU are no faster than one; a round waits for its largest device.
    share = 1.0 if _on_gpu(engine) else max(1 / workers, one.largest_share)
    seconds = (one.devices * share + one.server) / rate
    if one.pretraining:
        seconds += one.pretraining / flops_per_second(dense_engine(), graph, _sizes(graph))
    return seconds


def _on_gpu(engine: TrainingEngine) -> bool:
    return isinstance(engine, MaskedDense) and engine.device == "cuda"


def _uplink(config: RunConfig, samples: Summary) -> int:
    per_round = config.data.partitions * _participation(config)
    values = value_bytes(_graph(config, samples), config.method.density)
    return round(config.federation.rounds * per_round * values)


def _participation(config: RunConfig) -> float:
    """Share of the devices that train in a round."""
    return (config.federation.clients_per_round or config.data.partitions) / config.data.partitions


def _graph(config: RunConfig, samples: Summary) -> Graph:
    return config.graph(samples.input_shape, samples.classes)


def _sizes(graph: Graph) -> dict[str, int]:
    return {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}


def _duration(seconds: float) -> str:
    """In the unit people would use.

    >>> _duration(45), _duration(1200), _duration(111_600), _duration(400_000)
    ('45 seconds', '20 minutes', '31 hours', '4.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 72 * 3600:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 86400:.1f} days"


def _scaled(value: int, unit: str) -> str:
    """With a decimal prefix and two digits.

    >>> _scaled(4_120_000_000_000_000, "FLOP"), _scaled(999, "B"), _scaled(12_345_678, "B")
    ('4.1 PFLOP', '999 B', '12 MB')
    """
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    power = 0
    scaled = float(value)
    while scaled >= 999.5 and power < len(prefixes) - 1:
        scaled, power = scaled / 1000, power + 1
    digits = 1 if power and scaled < 9.95 else 0
    return f"{scaled:.{digits}f} {prefixes[power]}{unit}"
