"""Our methods as strategies of Flower's: the bytes of our own loop, and clear refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO, TINY
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from test_strategies_contract import SMALL

from fedtiny.config import RunConfig, load
from fedtiny.runs.events import Event, TierGiven
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from sims.backends import Backend, _grid, run_federation
from sims.flower_run import flower_run
from strategies.flower import FedTinyStrategy, StrategyError, read_state, to_arrays

EXAMPLE = Path(__file__).parents[1] / "examples" / "flower_app"


def config_of(*overrides: str) -> RunConfig:
    return load(DEMO, [*TINY, *SMALL, "federation.rounds=3", "pruning.stop=2", *overrides])


def without_seconds(event: Event) -> Event:
    return replace(event, **{k: 0.0 for k in ("seconds",) if hasattr(event, k)})


def started(config: RunConfig, folder: Path, **arguments: object) -> FedTinyStrategy:
    """The strategy after a run in this process, on samples that are dealt already."""
    run = RunFolder(folder / "strategy")
    strategy = FedTinyStrategy(config, run.path, shares=folder / "ours" / "data")
    run.create(config)
    with _grid(config, run, folder / "ours" / "data", Backend.INLINE, 1, "") as grid:
        strategy.start(grid, **arguments)  # type: ignore[arg-type]
    return strategy


PARTS = (
    "tiers.policy=nested",
    "tiers.smaller_parts=true",
    "tiers.global_part=chosen",
    "devices.fleet=['pi_4']",
    "devices.budget_bytes={1 = 120000, 2 = 92000}",
)


@pytest.mark.parametrize("more", [["fedtiny"], ["ssfl"], ["fedtiny", *PARTS]])
def test_it_ends_with_the_bytes_of_our_own_loop(more: list[str], tmp_path: Path) -> None:
    method, *parts = more
    config = config_of(f"pruning.method={method}", "federation.evaluate_every=2", *parts)
    ours, theirs = RunFolder(tmp_path / "ours"), RunFolder(tmp_path / "strategy")
    run_federation(config, ours, Backend.INLINE)
    started(config, tmp_path)
    assert theirs.model.read_bytes() == ours.model.read_bytes()
    assert len({one.tier for one in ours.events(TierGiven)}) == (3 if parts else 0)
    logs = [[without_seconds(e) for e in run.recording().events] for run in (ours, theirs)]
    assert logs[0] == logs[1]


@pytest.fixture(scope="module")
def dealt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dealt")
    run_federation(config_of(), RunFolder(folder / "ours"), Backend.INLINE)
    return folder


def test_a_user_sees_every_model_and_may_bring_the_first(dealt: Path) -> None:
    seen: list[dict[str, Array]] = []

    def evaluate(round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(dict(arrays))
        return MetricRecord({"round": round})

    ours = TrainedModel.load(RunFolder(dealt / "ours").model)
    first = to_arrays(ours.model)
    config = config_of("pretraining.epochs=0")
    strategy = started(config, dealt, initial_arrays=first, num_rounds=3, evaluate_fn=evaluate)
    assert len(seen) == 1 + 3
    assert strategy.trained is not None
    stem = next(iter(strategy.trained.model.dense))
    assert np.array_equal(seen[0][stem].numpy(), ours.model.dense[stem])  # nothing was trained yet
    last = strategy.trained.model.to_dense()
    assert all(np.array_equal(seen[-1][k].numpy(), last[k]) for k in last)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_rounds": 5}, "federation.rounds = 3; change it there"),
        ({"timeout": 3600.0}, "federation.timeout_s = 600.0; change it there"),
        ({"train_config": ConfigRecord({"lr": 0.1})}, "write settings there"),
        ({"evaluate_config": ConfigRecord({"x": 1})}, "write settings there"),
        ({"initial_arrays": ArrayRecord()}, "too many or missing"),
    ],
)
def test_what_only_the_config_decides(arguments: dict[str, object], said: str, dealt: Path) -> None:
    with pytest.raises(StrategyError, match=said):
        started(config_of(), dealt, **arguments)


def test_arrays_from_elsewhere_are_refused(dealt: Path) -> None:
    ours = TrainedModel.load(RunFolder(dealt / "ours").model)
    arrays = dict(to_arrays(ours.model))
    name = next(iter(arrays))
    good = arrays[name].numpy()
    for bad, said in (
        (good[..., None], "expected float32"),
        (good.astype(np.float64), "float64"),
        (np.full_like(good, np.nan), "not finite"),
    ):
        with pytest.raises(StrategyError, match=said):
            read_state(ours.graph, ArrayRecord({**arrays, name: Array(bad)}))


def test_other_arrays_between_rounds_are_refused(dealt: Path) -> None:
    class Meddler(FedTinyStrategy):
        def aggregate_train(self, server_round, replies):  # type: ignore[no-untyped-def]
            arrays, metrics = super().aggregate_train(server_round, replies)
            return ArrayRecord(dict(arrays)), metrics

    config, run = config_of(), RunFolder(dealt / "strategy")
    run.create(config)
    strategy = Meddler(config, run.path, shares=dealt / "ours" / "data")
    with (
        _grid(config, run, dealt / "ours" / "data", Backend.INLINE, 1, "") as grid,
        pytest.raises(StrategyError, match="keeps its model itself"),
    ):
        strategy.start(grid)


def test_over_selection_is_refused(tmp_path: Path) -> None:
    config = config_of("federation.clients_per_round=4", "federation.over_selection=0.5")
    with pytest.raises(StrategyError, match="waits for every reply"):
        FedTinyStrategy(config, tmp_path)


def test_a_simulated_clock_is_refused(tmp_path: Path) -> None:
    fleet = DEMO.parents[1] / "fleets" / "watch.toml"
    clock = "clock.mode=synchronous", "clock.deadline_s=60"
    config = config_of(f"devices.fleet={fleet}", *clock)
    with pytest.raises(StrategyError, match="has no simulated clock"):
        FedTinyStrategy(config, tmp_path)


@pytest.mark.deploy
def test_a_users_own_app_under_flwr_run(tmp_path: Path) -> None:
    config = config_of("data.partitioner=iid", "data.partitions=2")
    ours = RunFolder(tmp_path / "ours")
    run_federation(config, ours, Backend.INLINE)
    out = tmp_path / "theirs"
    flower_run(ours.config, [], out, 2, shares=ours.data, app=EXAMPLE)
    assert (out / "model.safetensors").read_bytes() == ours.model.read_bytes()
    assert "zeros" in (out / "mine.txt").read_text(encoding="utf-8")
