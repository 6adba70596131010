"""Devices choose one shape for all: what is compared, who wins, and what is trained then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO, TINY
from hypothesis import given
from hypothesis import strategies as st
from repeated_runs import federate

from fedtiny.config import RunConfig, load
from fedtiny.data.samples import Samples
from fedtiny.data.simulated import deal
from fedtiny.data.statistics import Normalization
from fedtiny.federation.contest import Training
from fedtiny.models import build
from fedtiny.models.initial import initial_state
from fedtiny.pruning.bn_selection import SelectionError
from fedtiny.pruning.paired import compare
from fedtiny.report import write
from fedtiny.runs.contest_events import ShapeCompared
from fedtiny.runs.events import TierGiven
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.tiers.block import block_of
from fedtiny.tiers.config import PolicyName, TiersConfig
from fedtiny.tiers.policies import policy_of
from fedtiny.tiers.tier import WHOLE, Tier
from fedtiny.training.config import PretrainingConfig
from fedtiny.wire.candidates import CandidateLosses

Configure = Callable[..., RunConfig]

shares = st.floats(0.1, 5.0)
tables = st.integers(1, 4).flatmap(
    lambda shapes: st.lists(
        st.tuples(st.integers(1, 50), st.lists(shares, min_size=shapes, max_size=shapes)),
        min_size=1,
        max_size=6,
    )
)


def replies(table: list[tuple[int, list[float]]]) -> list[dict[int, CandidateLosses]]:
    """By shape and partition, from rows of (samples, mean loss of each shape)."""
    return [
        {k: CandidateLosses(np.array([count * losses[c]]), count) for k, (count, losses) in rows}
        for rows in [list(enumerate(table))]
        for c in range(len(table[0][1]))
    ]


@given(tables)
def test_the_narrowest_within_one_standard_error_of_the_best_wins(
    table: list[tuple[int, list[float]]],
) -> None:
    found, shapes = compare(replies(table), ""), len(table[0][1])
    total = sum(count for count, _ in table)
    losses = [sum(n * own[c] for n, own in table) / total for c in range(shapes)]
    assert found.losses == pytest.approx(losses)
    good = []
    for c in range(shapes):
        best = int(np.argmin(found.losses))
        gap = losses[c] - losses[best]
        spread = sum((n / total * (own[c] - own[best] - gap)) ** 2 for n, own in table)
        many = len(table)
        error = (spread * many / (many - 1)) ** 0.5 if many > 1 else 0.0
        assert (found.excesses[c], found.errors[c]) == pytest.approx((gap, error), abs=1e-9)
        if found.excesses[c] <= found.errors[c]:
            good.append(c)
    assert found.as_good == good


def test_who_did_not_measure_every_shape_has_no_say() -> None:
    both = replies([(10, [1.0, 2.0]), (10, [9.0, 1.0])])
    del both[0][1]
    assert compare(both, "").losses == (1.0, 2.0)


def test_without_development_samples_nobody_can_choose() -> None:
    with pytest.raises(SelectionError, match=r"data\.development_fraction"):
        compare([{0: CandidateLosses(np.zeros(1), 0)}, {1: CandidateLosses(np.ones(1), 5)}], "")


def test_a_shape_of_a_trained_model_begins_as_the_part_of_it(public: Samples) -> None:
    graph = build("smartwatch_cnn@16", (6, 1, 128), 7)
    initial = initial_state(graph, np.random.default_rng(3))
    how = Training(PretrainingConfig(epochs=0), 0, 0.9, 0.0, 0)
    block = block_of(graph, 0.5)
    one = how.contender(Tier(0.5, 0.4), block, 0.1, public, initial)
    for name, array in one.state.items():
        assert (array == block.axes[name].cut(initial[name])).all()


@pytest.fixture(scope="module")
def public() -> Samples:
    data = deal(load(DEMO, TINY).data, 0).server.public
    return Samples(data, Normalization(np.zeros(6, "f4"), np.full(6, 1000, "f4")))


def test_every_shape_has_as_many_weights_until_it_is_dense(public: Samples) -> None:
    config = TiersConfig(policy=PolicyName.SHAPES)
    policy = policy_of(config, 0.1)
    assert policy is not None
    tiers = policy.contenders(Tier(0.75, 0.2))
    assert [tier.width for tier in tiers] == [0.75, 0.5, 0.375, 0.25, 0.125]
    assert policy.contenders(WHOLE)[0] == WHOLE
    how = Training(PretrainingConfig(epochs=1), 1, 0.9, 0.0, 0)
    graph = build("smartwatch_cnn@16", (6, 1, 128), 7)
    counts = {}
    for tier in policy.contenders(WHOLE):
        one = how.contender(tier, block_of(graph, tier.width), 0.1, public)
        sizes = sum(weight.mask.size for weight in one.model.weights.values())
        counts[tier.width] = one.model.nnz, sizes
        assert one.pool.candidate(0).keys() == one.model.weights.keys()
        for name, weight in one.pool.candidate(0).items():
            assert (weight.to_dense() == one.model.weights[name].to_dense()).all()
    most = counts[1.0][0]
    assert all(nnz in (most, size) for nnz, size in counts.values()), counts


@pytest.mark.deploy
def test_all_train_what_devices_chose(tiny_config: Configure, tmp_path: Path) -> None:
    settings = (
        "model.name=smartwatch_cnn@16",
        "pretraining.epochs=1",
        "federation.rounds=2",
        "pruning.density=0.05",
        "tiers.policy=shapes",
        "tiers.contest_epochs=1",
        "devices.fleet=['pi_4', 'pi_5']",
    )
    folder = federate(tiny_config(*settings), tmp_path / "run")
    compared = folder.events(ShapeCompared)
    (winner,) = [one for one in compared if one.chosen]
    last = {one.partition: one.tier for one in folder.events(TierGiven)}
    assert set(last.values()) == {winner.tier}
    assert len({one.nnz for one in compared if one.tier.density < 1}) == 1
    graph = TrainedModel.load(folder.model).graph
    assert graph.layers[0].out_channels == round(16 * winner.tier.width)
    report = write(folder)
    assert [one["width"] for one in report["shapes"]] == [one.tier.width for one in compared]
    assert "## Shapes of the model" in (folder.path / "report.md").read_text(encoding="utf-8")
    again = federate(tiny_config(*settings), tmp_path / "again")
    assert again.model.read_bytes() == folder.model.read_bytes()
