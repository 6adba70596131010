"""The simulated clock: order, rounds that wait, FedBuff's step; against hand-computed times."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.clock.buffered import Step, rebased, staleness_weight, step_of
from fedtiny.clock.course import Course
from fedtiny.clock.devices import TimedDevices, check_timed
from fedtiny.clock.heap import Due, EventHeap
from fedtiny.clock.state import ClockState, Flight
from fedtiny.clock.synchronous import settle
from fedtiny.config import RunConfig, parse
from fedtiny.data.statistics import Normalization
from fedtiny.devices.seconds import PriceError
from fedtiny.errors import FedTinyError
from fedtiny.federation.round import Federation, begin, finish
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.models import build
from fedtiny.models.cost import training_flops
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.runs.checkpoint import CheckpointError
from fedtiny.runs.outcome import Outcome
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import SparseTensor
from fedtiny.wire.train import TrainResult, TrainTask

GRAPH = build("smartwatch_cnn@4", (2, 1, 32), 3)
WEIGHTS = initial_state(GRAPH, rng(0, "initialization"))
LINK = {"down_kbps": 8.0, "up_kbps": 4.0}
LOST = [Outcome.AWAY, Outcome.DROPPED, Outcome.BROKE, Outcome.LEFT, Outcome.FAILED]

seconds = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(seconds, st.integers(0, 3)), max_size=30), st.randoms())
def test_events_come_in_one_order_whatever_the_order_they_are_put_in(keys, shuffler):
    dues = [Due(second, partition, n, n) for n, (second, partition) in enumerate(keys)]
    shuffled = list(dues)
    shuffler.shuffle(shuffled)
    heap: EventHeap[int] = EventHeap()
    for due in shuffled:
        heap.put(due)
    assert heap.left() == sorted(dues)
    taken = [heap.take().what for _ in range(len(heap))]
    assert taken == [n for *_, n in sorted((*key, n) for n, key in enumerate(keys))]


def course(partition: int, took: float, outcome: Outcome = Outcome.COUNTED) -> Course:
    return Course(partition, 1, 1, 100.0, compute_s=took, outcome=outcome)


courses = st.lists(
    st.tuples(st.integers(1, 9).map(float), st.sampled_from(list(Outcome)[:1] * 5 + LOST)),
    min_size=1,
    max_size=8,
).map(lambda found: [course(k, *one) for k, one in enumerate(found)])


@given(courses, st.integers(1, 8) | st.none())
def test_the_fastest_that_are_enough_count_and_nobody_after_the_deadline(asked, enough):
    settled = settle(asked, 100.0, 5.0, enough)
    in_time = sorted(
        (one.compute_s, one.partition)
        for one in asked
        if one.outcome is Outcome.COUNTED and one.compute_s <= 5.0
    )
    assert settled.counted == sorted(k for _, k in in_time[:enough])
    assert [one.partition for one in settled.courses] == list(range(len(asked)))
    answered = [one for one in asked if one.outcome is Outcome.COUNTED]
    silent = [o for o in asked if o.outcome in (Outcome.DROPPED, Outcome.BROKE, Outcome.LEFT)]
    late = [one for one in settled.courses if one.outcome is Outcome.LATE]
    assert {one.partition for one in late} == {o.partition for o in answered} - {*settled.counted}
    if enough is not None and len(in_time) >= enough:
        assert settled.ended_s == 100.0 + in_time[enough - 1][0]
    elif silent or late or not in_time:
        assert settled.ended_s == 105.0
    else:
        assert settled.ended_s == 100.0 + in_time[-1][0]


def test_without_a_deadline_nobody_may_be_lost():
    assert settle([course(0, 7.0), course(1, 3.0)], 100.0, 0.0, None).ended_s == 107.0
    with pytest.raises(ValueError, match="a device is lost, and the round has no deadline"):
        settle([course(0, 7.0), course(1, 3.0, Outcome.LEFT)], 100.0, 0.0, None)


def config(clock: dict[str, object] | None = None, **more: object) -> RunConfig:
    """Two devices that nothing happens to, and one to which ``more`` does."""
    rest = {"device": "pi_5", "sustained_flops": 1e6, "sustained_source": "assumed: a round number"}
    groups = [
        {"name": "good", "count": 2, "link": LINK, **rest},
        {"name": "odd", "count": 1, "link": LINK, **rest, **more},
    ]
    return parse(
        {
            "data": {"partitions": 3},
            "pruning": {"method": "magnitude", "density": 0.3},
            "training": {"epochs": 2, "batch_size": 4},
            "trust": {"update_factor": 0},
            "devices": {"groups": groups},
            "clock": clock or {"mode": "synchronous", "deadline_s": 1000.0},
        }
    )


def model() -> SparseModel:
    scores = {layer.name: WEIGHTS[f"{layer.name}.weight"] for layer in GRAPH.prunable_layers}
    counts = {name: int(0.3 * score.size) for name, score in scores.items()}
    return from_state(GRAPH, WEIGHTS, layer_masks(scores, counts))


NORMALIZATION = Normalization(np.zeros(2, np.float32), np.ones(2, np.float32))
TASK = TrainTask(3, model(), NORMALIZATION, {}, meter=False)
NNZ = {name: weight.nnz for name, weight in TASK.model.weights.items()}
TRAINING = 2 * 10 * training_flops(GRAPH, NNZ) / 1e6
"""Simulated seconds of ten samples, two epochs, at 10⁶ FLOP/s."""


def run_course(config: RunConfig, partition: int, number: int = 3, at_s: float = 50.0) -> Course:
    devices = TimedDevices(config)
    return devices.run(devices.start(partition, number, 3, at_s), GRAPH, TASK, 10, 2000, 1000)


def test_a_course_by_hand():
    """2000 bytes at 8 kbit/s, FLOPs at 10⁶ a second, 1000 bytes at 4 kbit/s."""
    done = run_course(config(), 0)
    assert (done.down_s, done.up_s, done.outcome) == (2.0, 2.0, Outcome.COUNTED)
    assert done.compute_s == pytest.approx(TRAINING)
    assert done.ended_s == pytest.approx(50 + 2 + TRAINING + 2)


def test_the_three_ways_to_drop_out():
    dropped = run_course(config(availability={"dropout": 1.0}), 2)
    assert (dropped.outcome, dropped.ended_s, dropped.down_bytes) == (Outcome.DROPPED, 50.0, 0)
    broke = run_course(config(availability={"breakdown": 1.0}), 2)
    assert broke.outcome is Outcome.BROKE
    assert 0 < broke.compute_s < TRAINING
    assert (broke.down_s, broke.up_s, broke.up_bytes) == (2.0, 0.0, 0)
    rows = "client,second,state\n0,0,off\n0,60,on\n0,63,off\n"
    traced = config(availability={"rows": rows})
    assert run_course(traced, 2).outcome is Outcome.AWAY
    left = run_course(traced, 2, at_s=60.0)
    assert (left.outcome, left.ended_s, left.up_bytes) == (Outcome.LEFT, 63.0, 0)
    assert (left.down_s, left.compute_s, left.up_s) == pytest.approx((2, TRAINING, 1 - TRAINING))
    assert run_course(traced, 0, at_s=60.0).outcome is Outcome.COUNTED


def test_chance_has_the_shares_it_was_given():
    devices = TimedDevices(config(availability={"dropout": 0.3, "breakdown": 0.5}))
    found = [devices.start(2, n, n, 0.0).outcome for n in range(2000)]
    assert found == [devices.start(2, n, n, 0.0).outcome for n in range(2000)]
    assert found.count(Outcome.DROPPED) / 2000 == pytest.approx(0.3, abs=0.04)
    assert found.count(Outcome.BROKE) / 2000 == pytest.approx(0.35, abs=0.04)


def test_a_generated_device_is_there_for_the_share_of_time_it_should_be():
    found = config(availability={"on_s": 300.0, "off_s": 100.0})
    there = TimedDevices(found).device(2).availability.there
    share = np.mean([there.at(float(s)) for s in range(0, 100_000, 10)])
    assert share == pytest.approx(0.75, abs=0.08)
    assert there.at(there.next_zero(5.0)) == 0
    assert there.next_zero(5.0) < there.next_above_zero(there.next_zero(5.0)) < inf


@pytest.mark.parametrize(
    ("clock", "more", "message"),
    [
        ({"mode": "synchronous"}, {"availability": {"dropout": 0.1}}, "clock.deadline_s: devices"),
        ({"mode": "synchronous"}, {"availability": {"on_s": 9.0, "off_s": 9.0}}, "'odd' may drop"),
        ({"mode": "buffered", "buffer": 2, "concurrency": 3}, {}, "need 4 devices"),
        ({"mode": "someday"}, {}, "Input should be 'off', 'synchronous' or 'buffered'"),
    ],
)
def test_a_clock_is_refused_for_what_it_lacks(clock, more, message):
    with pytest.raises(FedTinyError, match=message):
        config(clock, **more)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": {"fleet": ["pi_5"]}}, "clock.mode: simulated time is of a fleet"),
        ({"pruning": {"method": "fedtiny"}}, "steps from several versions have one mask"),
        ({"federation": {"clients_per_round": 2}}, "clock.concurrency says how many train"),
    ],
)
def test_a_buffered_clock_is_refused_for_what_contradicts_it(changes, message):
    tree = config({"mode": "buffered", "buffer": 2, "concurrency": 2}).model_dump(mode="json")
    with pytest.raises(FedTinyError, match=message):
        parse({**tree, **changes})


def test_what_has_no_price_is_refused_before_a_run():
    with pytest.raises(PriceError, match="group 'odd' has no link"):
        check_timed(config(link=None))
    with pytest.raises(PriceError, match="rp2350: its catalogue states no sustained_mflops"):
        check_timed(
            config(device="rp2350", budget_bytes=10**6, sustained_flops=None, sustained_source="")
        )
    check_timed(config())


def moved(start: SparseModel, by: float, statistics: float) -> SparseModel:
    names = {row.name for row in GRAPH.statistics}
    return SparseModel(
        {
            name: SparseTensor(one.mask, one.values + np.float32(by))
            for name, one in start.weights.items()
        },
        {
            name: np.full_like(one, statistics) if name in names else one + np.float32(by)
            for name, one in start.dense.items()
        },
    )


def test_a_stale_step_counts_as_a_step_from_where_it_began():
    """APPFL's reviewers: neither the device's model nor its distance to the version of now."""
    old = model()
    now = moved(old, 5.0, 1.0)
    step = step_of(GRAPH, old, TrainResult(moved(old, 0.25, 2.0), 7, 0.5, {}, None))
    found = rebased(GRAPH, now, step, staleness=3, rate=1.0)
    assert (found.count, found.loss, staleness_weight(3)) == (7, 0.5, 0.5)
    for name, weight in found.model.weights.items():
        np.testing.assert_allclose(weight.values, old.weights[name].values + 5.125, rtol=1e-5)
    statistics = {row.name for row in GRAPH.statistics}
    for name, array in found.model.dense.items():
        wanted = np.full_like(array, 2.0) if name in statistics else old.dense[name] + 5.125
        np.testing.assert_allclose(array, wanted, rtol=1e-5)


def whole(found: RunConfig) -> Federation:
    return Federation(GRAPH, found.method, 3, 0, found.seed, found.trust, found.stopping)


@pytest.mark.parametrize("stale", [0, 8])
def test_a_buffer_moves_the_model_by_its_weighted_mean_step(stale: int) -> None:
    """Two steps, 1 sample by +1 and 3 samples by +3: mean +2.5, or a third of it at τ = 8."""
    state = ServerState(4, model(), NORMALIZATION, {})
    federation = whole(config())
    task = begin(federation, state, 5, [0, 2])
    assert list(task.tasks) == [0, 2]
    steps = {
        k: step_of(GRAPH, model(), TrainResult(moved(model(), float(n), 1.0), n, 0.0, {}, None))
        for k, n in ((0, 1), (2, 3))
    }
    results = {k: rebased(GRAPH, state.model, one, stale, 1.0) for k, one in steps.items()}
    after, _ = finish(federation, state, task, results)
    scale = 1.0 if stale == 0 else 1 / 3
    for name, weight in after.model.weights.items():
        wanted = state.model.weights[name].values + 2.5 * scale
        np.testing.assert_allclose(weight.values, wanted, rtol=1e-5)
    variances = [k for k in after.model.dense if k.endswith("running_var")]
    assert variances
    assert all((after.model.dense[name] >= 0).all() for name in variances)


def test_without_staleness_it_is_federated_averaging() -> None:
    state = ServerState(0, model(), NORMALIZATION, {})
    federation = whole(config())
    task = begin(federation, state, 1)
    replies = {
        k: TrainResult(moved(model(), 0.1 * (k + 1), 1.0 + k), k + 1, 0.0, {}, None)
        for k in task.tasks
    }
    plain, _ = finish(federation, state, task, replies)
    steps = {k: step_of(GRAPH, state.model, one) for k, one in replies.items()}
    buffered, _ = finish(
        federation, state, task, {k: rebased(GRAPH, model(), s, 0, 1.0) for k, s in steps.items()}
    )
    for name, array in plain.model.to_dense().items():
        np.testing.assert_allclose(array, buffered.model.to_dense()[name], atol=2e-6)


def test_what_is_on_its_way_survives_a_checkpoint(tmp_path: Path) -> None:
    found = config()
    step = Step(moved(model(), 0.5, 2.0), 7, 0.25)
    flights = (
        Flight(replace(course(0, 1 / 3), up_s=0.1), step),
        Flight(course(2, 3.0, Outcome.BROKE), None),
    )
    clock = ClockState(1234.5678, 9, flights)
    state = ServerState(4, model(), NORMALIZATION, {}, clock=clock)
    CheckpointStore(tmp_path, found, GRAPH).save(state)
    again = CheckpointStore(tmp_path, found, GRAPH).latest()
    assert again is not None
    assert again.clock is not None
    assert (again.clock.now_s, again.clock.tasks) == (1234.5678, 9)
    assert [one.course for one in again.clock.flights] == [one.course for one in flights]
    kept = again.clock.flights[0].step
    assert kept is not None
    assert again.clock.flights[1].step is None
    assert (kept.count, kept.loss) == (7, 0.25)
    for name, array in step.change.to_dense().items():
        assert kept.change.to_dense()[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"now_s": -1.0}, "of its clock, now_s"),
        ({"now_s": inf}, "of its clock, now_s"),
        ({"flights": [{"course": {}, "count": 1, "loss": 0.0}]}, "of its clock, flights"),
        ({"tasks": "many"}, "of its clock, tasks"),
    ],
)
def test_a_clock_that_a_checkpoint_cannot_have_is_refused(tmp_path: Path, changes, message):
    class Damaged(ClockState):
        def manifest(self):
            return {**ClockState.manifest(self), **changes}

    state = ServerState(4, model(), NORMALIZATION, {}, clock=Damaged(1.0))
    store = CheckpointStore(tmp_path, config(), GRAPH)
    store.save(state)
    with pytest.raises(CheckpointError, match=message):
        store.latest()


def test_without_a_clock_a_checkpoint_knows_none(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, config(), GRAPH)
    store.save(ServerState(4, model(), NORMALIZATION, {}))
    again = store.latest()
    assert again is not None
    assert again.clock is None
    (file,) = tmp_path.glob("*.safetensors")
    assert b"clock" not in file.read_bytes()
