"""Packets: exact round trips, sizes, and what reading refuses."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from builders import fresh_state, sparse_model
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import push_objects
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.records import to_packet, to_record, wire_bytes
from fedtiny.data.statistics import InputStatistics, Normalization
from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.memory.step import StepPlan
from fedtiny.methods.device import DeviceHalf
from fedtiny.models.sparse_model import SparseModel, dense_names
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
from fedtiny.pruning.bn_selection import Moments
from fedtiny.pruning.candidates import build_candidates
from fedtiny.seeding import rng
from fedtiny.training.local import LocalUpdate
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask, CandidateStatistics
from fedtiny.wire.describe import Description
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.train import TrainResult, TrainTask

GRAPH = smartwatch_cnn((3, 1, 32), 4, width=8)
STATE = fresh_state(GRAPH)
NORMALIZATION = Normalization(np.float32([1, 2, 3]), np.float32([4, 5, 6]))


def assert_same(one: SparseModel, other: SparseModel) -> None:
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight.mask.indices, other.weights[name].mask.indices)
        np.testing.assert_array_equal(weight.values, other.weights[name].values)
    assert list(one.dense) == list(other.dense)
    for name, value in one.dense.items():
        np.testing.assert_array_equal(value, other.dense[name])


def through_flower(packet: Packet) -> Packet:
    return to_packet(to_record(packet))


@settings(deadline=None, max_examples=15)
@given(st.floats(0.001, 1.0))
def test_a_model_survives_the_wire_exactly(density: float) -> None:
    model = sparse_model(GRAPH, density)
    task = ModelTask.read(GRAPH, through_flower(ModelTask(model, NORMALIZATION).packet(GRAPH)))
    assert_same(task.model, model)
    np.testing.assert_array_equal(task.normalization.std, NORMALIZATION.std)


def test_train_task_round_trip() -> None:
    task = TrainTask(7, sparse_model(GRAPH), NORMALIZATION, {"conv3": 5}, meter=True)
    again = TrainTask.read(GRAPH, through_flower(task.packet(GRAPH)))
    assert (again.round, dict(again.quotas), again.meter) == (7, {"conv3": 5}, True)
    assert again.progress is None
    assert_same(again.model, task.model)


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_a_train_task_can_have_a_learning_rate_of_its_own(progress: float) -> None:
    task = TrainTask(7, sparse_model(GRAPH), NORMALIZATION, {}, False, progress)
    assert TrainTask.read(GRAPH, through_flower(task.packet(GRAPH))).progress == progress
    beyond = replace(task, progress=1 + progress + 0.1).packet(GRAPH)
    with pytest.raises(WireError, match=r"progress: .* lies outside 0\.\.1"):
        TrainTask.read(GRAPH, beyond)


def test_train_result_round_trip() -> None:
    model = sparse_model(GRAPH)
    absent = model.masks["conv3"].complement()[[1, 4]]
    growth = {"conv3": (absent, np.float32([0.5, -1]))}
    ledger = LedgerEntry(3, "pi_4", 9, 5, 7, 2, StepPlan(1), {LedgerLine.BATCH: 5})
    result = TrainResult(model, 30, 0.25, growth, ledger)
    half = DeviceHalf()
    update = LocalUpdate(model, 30, 0.25, growth)
    packet = through_flower(result.packet(GRAPH, half.pack(GRAPH, update)))
    read = half.read(GRAPH, model.masks, {"conv3": 2}, packet)
    again = TrainResult.read(GRAPH, 3, read.masks, packet, read.found)
    assert_same(again.model, model)
    assert (again.count, again.loss) == (30, 0.25)
    assert again.ledger is not None
    assert (again.ledger.measured_peak_bytes, again.ledger.predicted_peak_bytes) == (7, 5)
    np.testing.assert_array_equal(again.found["conv3"][0], absent)
    np.testing.assert_array_equal(again.found["conv3"][1], growth["conv3"][1])


def test_uplink_of_a_round_is_values_in_mask_order_only() -> None:
    model = sparse_model(GRAPH, 0.05)
    packet = TrainResult(model, 30, 0.25, {}, None).packet(GRAPH)
    assert set(packet.arrays) == {"values", "dense"}
    held = sum(value.size for value in model.dense.values())
    assert packet.payload_bytes == 4 * (model.nnz + held) + 2 * 8


def test_wire_bytes_are_what_flowers_own_sender_pushes() -> None:
    record = to_record(ModelTask(sparse_model(GRAPH), NORMALIZATION).packet(GRAPH))
    pushed: dict[str, bytes] = {}
    push_objects(get_all_nested_objects(record), pushed.__setitem__, keep_objects=True)
    assert wire_bytes(record) == sum(map(len, pushed.values()))
    assert wire_bytes(record) > to_packet(record).payload_bytes


def moments(count: int, shift: float = 0) -> dict[str, Moments]:
    return {
        layer.name: Moments(
            np.full(layer.out_channels, shift, np.float32),
            np.arange(layer.out_channels, dtype=np.float32),
            count,
        )
        for layer in GRAPH.batch_norms
    }


def test_candidates_round_trip() -> None:
    weights = {x.name: STATE[f"{x.name}.weight"] for x in GRAPH.prunable_layers}
    pool = build_candidates(weights, 0.1, 3, rng(0, "pool"))
    dense = {name: STATE[name] for name in dense_names(GRAPH)}
    task = CandidatesTask(pool, dense, NORMALIZATION, [moments(0, c) for c in range(3)])
    again = CandidatesTask.read(GRAPH, through_flower(task.packet(GRAPH)))
    for c in range(3):
        for name, weight in pool.candidate(c).items():
            other = again.pool.candidate(c)[name]
            np.testing.assert_array_equal(weight.mask.indices, other.mask.indices)
            np.testing.assert_array_equal(weight.values, other.values)
        assert again.statistics is not None
        np.testing.assert_array_equal(again.statistics[c]["conv2"].mean, np.full(16, c))
    first = CandidatesTask(pool, dense, NORMALIZATION, None)
    assert CandidatesTask.read(GRAPH, first.packet(GRAPH)).statistics is None


def test_other_results_round_trip() -> None:
    statistics = CandidateStatistics([moments(9), moments(9, 1)], 9)
    again = CandidateStatistics.read(GRAPH, 2, through_flower(statistics.packet(GRAPH)))
    assert again.statistics[1]["conv1"].count == 9
    losses = CandidateLosses(np.array([1.5, 2.5]), 9)
    np.testing.assert_array_equal(
        CandidateLosses.read(2, through_flower(losses.packet())).loss_sums, losses.loss_sums
    )
    confusion = np.arange(16).reshape(4, 4)
    evaluation = EvaluationResult(Evaluation(3.0, confusion))
    read = EvaluationResult.read(GRAPH, 120, through_flower(evaluation.packet()))
    np.testing.assert_array_equal(read.evaluation.confusion, confusion)
    ranges = dict.fromkeys(GRAPH.observed, (-1.0, 2.0))
    packet = through_flower(RangesResult(ranges).packet(GRAPH))
    assert RangesResult.read(GRAPH, packet).ranges == ranges


def test_description_round_trip() -> None:
    lines = {LedgerLine.WEIGHTS: 100, LedgerLine.BATCH: 50}
    step = StepPlan(8, ("conv1", "conv3"))
    ledger = LedgerEntry(2, "esp32_s3", 1000, 150, None, 16, step, lines)
    three = np.arange(3)
    readings = 20 * prod(GRAPH.input_shape[1:])
    statistics = InputStatistics(readings, three, three, -three, three)
    description = Description(20, 5, 7, statistics, ledger)
    again = Description.read(GRAPH, 2, through_flower(description.packet()))
    assert again.samples == 20
    assert again.ledger is not None
    assert again.ledger.predicted_peak_bytes == 150
    assert again.ledger.device == "esp32_s3"
    assert again.ledger.step == step
    np.testing.assert_array_equal(again.statistics.minimum, -three)
    assert (
        Description.read(GRAPH, 2, Description(20, 5, 7, statistics, None).packet()).ledger is None
    )
    assert (again.development, again.test) == (5, 7)


def test_recomputing_a_layer_that_does_not_exist_is_refused() -> None:
    ledger = LedgerEntry(2, "esp32_s3", 9, 0, None, 16, StepPlan(8, ("conv1", "conv9")), {})
    one = np.full(3, 20 * prod(GRAPH.input_shape[1:]))
    statistics = InputStatistics(int(one[0]), one, one, np.ones_like(one), np.ones_like(one))
    packet = Description(20, 5, 7, statistics, ledger).packet()
    with pytest.raises(WireError, match="recompute: the model has no layer conv9"):
        Description.read(GRAPH, 2, packet)


def result_packet(**arrays: np.ndarray) -> Packet:
    packet = TrainResult(sparse_model(GRAPH), 30, 0.25, {}, None).packet(GRAPH)
    return Packet({**packet.arrays, **arrays}, packet.scalars)


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (result_packet(values=np.zeros(3, np.float32)), "values: expected"),
        (result_packet(values=np.zeros(sparse_model(GRAPH).nnz)), "values: expected float32"),
        (result_packet(values=np.full(sparse_model(GRAPH).nnz, np.nan, np.float32)), "NaN"),
        (Packet({}, {"count": 3, "loss": 0.1}), "values: missing"),
        (Packet(result_packet().arrays, {"count": 0, "loss": 0.1}), "trained on 0 samples"),
        (Packet(result_packet().arrays, {"count": 3, "loss": float("nan")}), "loss: expected"),
        (Packet(result_packet().arrays, {"count": "many", "loss": 0.1}), "count: expected"),
    ],
)
def test_a_lying_client_is_refused(packet: Packet, words: str) -> None:
    with pytest.raises(WireError, match=words):
        TrainResult.read(GRAPH, 0, sparse_model(GRAPH).masks, packet)


def test_growth_must_be_absent_and_no_more_than_asked() -> None:
    model = sparse_model(GRAPH)
    present = model.masks["conv3"].indices[:1]
    absent = model.masks["conv3"].complement()[:3]
    for indices, words in ((present, "present"), (absent, "asked for 2")):
        growth = {"conv3": (indices, np.ones(len(indices), np.float32))}
        arrays = DeviceHalf().pack(GRAPH, LocalUpdate(model, 30, 0.25, growth))
        with pytest.raises(WireError, match=words):
            DeviceHalf().read(GRAPH, model.masks, {"conv3": 2}, Packet(arrays))
