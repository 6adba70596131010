"""Whole runs of unequal devices: budgets hold, bytes are the same again, every part is exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedtiny.cli import app
from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.export.places import tier_folder
from fedtiny.report import write
from fedtiny.runs.contest_events import PartCompared
from fedtiny.runs.events import (
    DeviceDescribed,
    Evaluated,
    Event,
    Metered,
    RoundFinished,
    TierEvaluated,
    TierGiven,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.settings import ConfigError
from sims.backends import Backend, run_federation
from strategies.observer import Observer

SMALL = ("model.name=smartwatch_cnn@16", "pretraining.epochs=1", "federation.rounds=4")
UNEQUAL = (
    *SMALL,
    "pruning.density=0.3",
    "pruning.interval=1",
    "pruning.stop=3",
    "devices.fleet=['pi_4', 'esp32_s3', 'stm32h743', 'stm32h743']",
    "devices.budget_bytes={1 = 280000, 2 = 180000, 3 = 180000, 5 = 280000, 6 = 180000, 7 = 180000}",
    "tiers.policy=nested",
)
Configure = Callable[..., RunConfig]

pytestmark = pytest.mark.deploy  # half a minute and more


class _StoppedError(Exception):
    pass


class _PullThePlug(Observer):
    def on_event(self, event: Event) -> None:
        if isinstance(event, RoundFinished) and event.round == 2:
            raise _StoppedError


def run_of(parent: Path, *settings: str) -> RunFolder:
    from conftest import DEMO, TINY

    from fedtiny.config import load

    folder = RunFolder(parent / "run")
    run_federation(load(DEMO, [*TINY, *UNEQUAL, *settings]), folder, Backend.INLINE)
    return folder


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_of(tmp_path_factory.mktemp("tiers"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    settings = ("tiers.smaller_parts=true", "tiers.global_part=chosen")
    return run_of(tmp_path_factory.mktemp("shared"), *settings)


def test_every_device_trains_a_part_that_its_budget_holds(unequal: RunFolder) -> None:
    tiers = {one.partition: one.tier for one in unequal.events(DeviceDescribed)}
    widths = {k: tier.width for k, tier in tiers.items() if tier}
    assert widths[0] == widths[4] == 1
    assert widths[0] > widths[1] == widths[5] > widths[2] == widths[3]
    metered = unequal.events(Metered)
    assert len(metered) == len(tiers)
    for one in metered:
        measured = one.ledger.measured_peak_bytes
        assert measured == one.ledger.predicted_peak_bytes <= one.ledger.budget_bytes


def test_every_part_is_evaluated_and_one_that_nobody_trains(unequal: RunFolder) -> None:
    last = [one for one in unequal.events(TierEvaluated) if one.round == 4]
    assert [one.devices for one in last] == [4, 2, 2, 0]
    assert [one.nnz for one in last[:3]] == sorted(one.nnz for one in last[:3])
    report = write(unequal)["tiers"]
    assert [part["devices"] for part in report["parts"]] == [4, 2, 2, 0]
    assert report["worst_tier_accuracy"] == min(one.correct / one.count for one in last[:3])
    assert report["global_accuracy"] == last[2].correct / last[2].count
    text = (unequal.path / "report.md").read_text(encoding="utf-8")
    assert "## Parts of the model" in text
    assert "4 stm32h743" in text


def test_the_part_that_devices_chose_is_the_model(shared: RunFolder) -> None:
    last = [one for one in shared.events(PartCompared) if one.round == 4]
    (chosen,) = (one.tier for one in last if one.chosen)
    assert [one.tier for one in last] == sorted((one.tier for one in last), reverse=True)
    assert {one.devices for one in last} == {8}, "who could not train a part may look at it"
    assert chosen == min(last, key=lambda one: one.loss).tier
    assert shared.model.read_bytes() == shared.tier(chosen).model.read_bytes()
    (part,) = (one for one in shared.events(TierEvaluated) if one.round == 4 and one.tier == chosen)
    unseen = [
        one for one in shared.events(Evaluated) if one.round == 4 and one.group == "unseen_people"
    ]
    assert sum(one.correct for one in unseen) == part.correct
    done = CliRunner().invoke(app, ["export", str(shared.path), "--report"])
    assert f"the run's model is the part that devices chose: {chosen}" in done.output
    report = write(shared)["tiers"]
    assert report["global_accuracy"] == part.correct / part.count


def test_devices_that_draw_smaller_parts_are_measured_with_their_own(shared: RunFolder) -> None:
    own = {one.partition: one.tier for one in shared.events(TierGiven)}
    assert len(set(own.values())) == 3
    for one in shared.events(Metered):
        ledger = one.ledger
        assert ledger.measured_peak_bytes == ledger.predicted_peak_bytes <= ledger.budget_bytes
    peaks = {one.partition: one.ledger.measured_peak_bytes for one in shared.events(Metered)}
    assert peaks[0] == peaks[4] > peaks[1] == peaks[5] > peaks[2] == peaks[3]


def test_a_part_goes_to_its_board(unequal: RunFolder) -> None:
    def export(*options: str) -> str:
        done = CliRunner().invoke(app, ["export", str(unequal.path), *options])
        return done.output if done.exit_code == 0 else str(done.exception or done.output)

    shown = export("--tier", "stm32h743")
    assert "0 mismatches" in shown or "0 of" in shown, shown
    small = unequal.tier(next(t.tier for t in unequal.events(TierEvaluated) if t.devices == 4))
    assert (small.firmware / "model.h").is_file()
    part, whole = TrainedModel.load(small.model), TrainedModel.load(unequal.model)
    assert part.graph.layers[0].out_channels < whole.graph.layers[0].out_channels
    with pytest.raises(FedTinyError, match="there are esp32_s3, pi_4, stm32h743, width-"):
        tier_folder(unequal, "nrf52840")


@pytest.mark.parametrize("name", ["unequal", "shared"])
def test_a_run_that_is_stopped_and_resumed_leaves_the_same_bytes(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    unequal: RunFolder = request.getfixturevalue(name)
    config, folder = unequal.load_config(), RunFolder(tmp_path / "again")
    with pytest.raises(_StoppedError):
        run_federation(config, folder, Backend.INLINE, False, [_PullThePlug()])
    run_federation(config, folder, Backend.INLINE, True)
    for path in (unequal.model, *unequal.tiers.glob("*/model.safetensors")):
        assert (folder.path / path.relative_to(unequal.path)).read_bytes() == path.read_bytes()


def test_equal_budgets_give_the_bytes_of_a_run_without_tiers(
    tiny_config: Configure, tmp_path: Path
) -> None:
    models = []
    for policy in ("none", "nested"):
        folder = RunFolder(tmp_path / policy)
        settings = ("devices.fleet=['pi_4', 'pi_5']", f"tiers.policy={policy}")
        run_federation(tiny_config(*SMALL, *settings), folder, Backend.INLINE)
        models.append(TrainedModel.load(folder.model).arrays())
    assert all((models[0][name] == models[1][name]).all() for name in models[0])
    assert models[0].keys() == models[1].keys()


def test_a_fleet_that_can_train_nothing_is_told_so(tiny_config: Configure, tmp_path: Path) -> None:
    config = tiny_config(*SMALL, "devices.fleet=['nrf52840']", "tiers.policy=nested")
    with pytest.raises(FedTinyError, match=r"no device can train any part of smartwatch_cnn@16"):
        run_federation(config, RunFolder(tmp_path / "run"), Backend.INLINE)


def test_methods_whose_devices_need_the_whole_model_say_so(tiny_config: Configure) -> None:
    with pytest.raises(
        ConfigError, match=r"methods with parts: fedtiny, dense, random, magnitude, erk$"
    ):
        tiny_config("tiers.policy=nested", "pruning.method=feddst")
    with pytest.raises(ConfigError, match=r"must begin with 1\.0, the whole model, and descend"):
        tiny_config("tiers.policy=nested", "tiers.widths=[0.5, 1.0]")


def test_a_part_that_is_not_the_devices_own_choice_is_found_by_its_board(
    tiny_config: Configure, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    config = tiny_config(*UNEQUAL, "tiers.policy=weakest", "federation.rounds=1", "pruning.stop=1")
    run_federation(config, folder, Backend.INLINE)
    (tier,) = {one.tier for one in folder.events(TierGiven)}
    could = {one.tier for one in folder.events(DeviceDescribed)}
    assert len(could) == 3
    assert min(could) == tier
    assert tier_folder(folder, "pi_4").path == folder.tier(tier).path
    assert write(folder)["tiers"]["parts"][0]["boards"] == {
        "esp32_s3": 2, "pi_4": 2, "stm32h743": 4,
    }  # fmt: skip
