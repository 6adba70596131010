"""What a device does for each message: decode, call the library, encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil

import numpy as np

from clients.adapting import adapt
from clients.budget import within_budget
from clients.device import Device
from clients.encoding import encode
from fedtiny.data.batches import batches
from fedtiny.data.samples import Samples
from fedtiny.data.statistics import InputStatistics
from fedtiny.devices.planner import RefusedError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.memory.step import StepPlan
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import Moments
from fedtiny.pruning.saliency import connection_saliency
from fedtiny.seeding import rng
from fedtiny.training.learning_rate import learning_rate, progress
from fedtiny.training.local import train_locally
from fedtiny.training.trainer import SgdConfig, Trainer
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask, CandidateStatistics
from fedtiny.wire.describe import Description
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.join import JoinResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.models import with_statistics
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.saliency import SaliencyScores
from fedtiny.wire.train import TrainResult, TrainTask

Handler = Callable[[Device, Packet], Packet]


def join(device: Device, packet: Packet) -> Packet:
    """Which partition this node holds."""
    return JoinResult(device.partition).packet()


def describe(device: Device, packet: Packet) -> Packet:
    """Samples, input statistics and memory plan; refuses if nothing fits the budget.

    Where devices train parts of the model: the part that fits it, or the reason why none does.
    """
    measured = device.measure(device.begin())
    data = device.data
    sizes = len(data.train), len(data.development), len(data.test)
    statistics = InputStatistics.of(data.train)
    if not device.config.has_parts:
        return Description(*sizes, statistics, device.plan(), measured).packet()
    try:
        held = device.hold()
    except RefusedError as error:
        return Description(*sizes, statistics, None, measured, refused=str(error)).packet()
    return Description(
        *sizes, statistics, held.plan, measured, held.tier, passed_over=held.passed_over
    ).packet()


def candidate_statistics(device: Device, packet: Packet) -> Packet:
    """Batch-norm statistics of every candidate on the development set (ABNS, first trip)."""
    task = CandidatesTask.read(device.graph, packet)
    samples = Samples(device.data.development, task.normalization)
    statistics = []
    for candidate in range(task.pool.size):
        model = SparseModel(task.pool.candidate(candidate), task.dense)
        trainer = device.engine.evaluator(device.graph, model, device.step)
        statistics.append(trainer.batch_norm_moments(samples))
    return CandidateStatistics(statistics, len(samples)).packet(device.graph)


def candidate_losses(device: Device, packet: Packet) -> Packet:
    """Development loss of every candidate with the statistics sent along (ABNS, second trip)."""
    task = CandidatesTask.read(device.graph, packet)
    samples = Samples(device.data.development, task.normalization)
    losses = []
    for candidate in range(task.pool.size):
        statistics: dict[str, Moments] = task.statistics[candidate] if task.statistics else {}
        dense = with_statistics(task.dense, statistics)
        model = SparseModel(task.pool.candidate(candidate), dense)
        trainer = device.engine.evaluator(device.graph, model, device.step)
        losses.append(trainer.evaluate(samples).loss_sum)
    return CandidateLosses(np.array(losses), len(samples)).packet()


def saliency(device: Device, packet: Packet) -> Packet:
    """|g ⊙ θ| of every weight of a dense model on one batch (SSFL); refuses without the memory."""
    task = ModelTask.read(device.graph, packet)
    batch_size = device.config.training.batch_size
    plan = device.plan(task.model.masks, {})
    samples = Samples(device.data.train, task.normalization)
    generator = rng(device.config.seed, "saliency", 0, device.partition)
    drawn = next(batches(len(samples), batch_size, generator))
    step = plan.step if plan else StepPlan(batch_size)
    with within_budget(device, plan, task.model):
        trainer = device.engine.evaluator(device.graph, task.model, step)
        gradients = trainer.gradients(*samples.batch(drawn))
        scores = connection_saliency(task.model, gradients)
    return SaliencyScores(scores, len(samples)).packet(device.graph)


def train(device: Device, packet: Packet) -> Packet:
    """The round's local epochs within the memory budget, and what the method asks for besides."""
    task = TrainTask.read(device.graph, packet)
    samples = Samples(device.data.train, task.normalization)
    config, half = device.config.training, device.config.method.device
    plan = device.plan(task.model.masks, task.quotas)
    step = plan.step if plan else StepPlan(config.batch_size)
    sgd = _sgd(device, task, len(samples))

    def trainer(model: SparseModel) -> Trainer:
        return device.engine.trainer(device.graph, model, sgd, step)

    with within_budget(device, plan, task.model):
        update = train_locally(
            trainer,
            task.model,
            samples,
            epochs=config.epochs,
            batch_size=config.batch_size,
            generator=rng(device.config.seed, "batches", task.round, device.partition),
            quotas=task.quotas,
            adjustment=half,
        )
    ledger = None
    if task.meter and plan is not None:
        ledger = _metered(device, task, sgd, samples)  # what measures has its own memory
    result = TrainResult(update.model, update.count, update.loss, update.found, ledger)
    return result.packet(device.graph, half.pack(device.graph, update) if task.quotas else {})


def _sgd(device: Device, task: TrainTask, samples: int) -> SgdConfig:
    """The round's optimizer settings."""
    config = device.config.training
    passed = task.progress
    if passed is None:
        passed = progress(task.round, device.config.federation.rounds)
    half, extrusion = device.config.method.device, None
    if task.quotas:
        steps = config.epochs * ceil(samples / config.batch_size)
        extrusion = half.extrusion(config, task.model, task.quotas, steps)
    return SgdConfig(
        learning_rate(config, passed),
        config.momentum,
        config.weight_decay,
        proximal_mu=config.proximal_mu,
        received=task.model,
        extrusion=extrusion,
        slopes=half.slopes(task.model),
    )


def _metered(
    device: Device, task: TrainTask, sgd: SgdConfig, samples: Samples
) -> LedgerEntry | None:
    """The plan of a plain training step under the task's masks, and what one really held."""
    plan = device.plan(task.model.masks, {})
    if plan is None or len(samples) < plan.batch:
        return plan
    x, y = samples.batch(np.arange(plan.batch))
    measured = device.engine.measure(device.graph, task.model, sgd, x, y, plan.step)
    return replace(plan, measured_peak_bytes=measured)


def evaluate(device: Device, packet: Packet) -> Packet:
    """Loss and confusion matrix on the device's own test samples."""
    task = ModelTask.read(device.graph, packet)
    samples = Samples(device.data.test, task.normalization)
    trainer = device.engine.evaluator(device.graph, task.model, device.step)
    return EvaluationResult(trainer.evaluate(samples)).packet()


def calibrate(device: Device, packet: Packet) -> Packet:
    """Activation ranges on the device's training samples: two numbers a tensor."""
    task = ModelTask.read(device.graph, packet)
    samples = Samples(device.data.train, task.normalization)
    trainer = device.engine.evaluator(device.graph, task.model, device.step)
    return RangesResult(trainer.ranges(samples)).packet(device.graph)


HANDLERS: Mapping[Phase, Handler] = {
    Phase.JOIN: join,
    Phase.DESCRIBE: describe,
    Phase.CANDIDATE_STATISTICS: candidate_statistics,
    Phase.CANDIDATE_LOSSES: candidate_losses,
    Phase.SALIENCY: saliency,
    Phase.TRAIN: train,
    Phase.EVALUATE: evaluate,
    Phase.CALIBRATE: calibrate,
    Phase.ADAPT: adapt,
    Phase.ENCODE: encode,
}
"""What a device does in every phase that asks it something."""
