"""Devices adapt the finished model: what travels, what is kept, who is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from repeated_runs import results
from test_faults import LossyGrid

from clients.adapting import adapt, own_model
from clients.app import client_app
from clients.device import Device
from clients.handlers import HANDLERS
from clients.state import recall
from fedtiny.adapt.budget import budget_bytes
from fedtiny.adapt.learning import correct
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.planning import unable_to_adapt
from fedtiny.adapt.recipe import AdaptError, Task
from fedtiny.config import RunConfig, parse
from fedtiny.config.adapt import MethodName
from fedtiny.data.samples import Samples
from fedtiny.data.server import load_server
from fedtiny.data.shares import client_file
from fedtiny.devices.catalog import get
from fedtiny.engine import EngineOptions, Executor, available
from fedtiny.errors import FedTinyError
from fedtiny.export.command import Order, export_trained
from fedtiny.export.places import place_of
from fedtiny.export.run import export_run
from fedtiny.learn.command import OnDevice
from fedtiny.report import write
from fedtiny.report.adapting import accuracies
from fedtiny.runs.adapt_events import Adapted, AdaptedTested
from fedtiny.runs.events import DeviceDescribed, Doubted, Exchanged, TierGiven
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.settings import ConfigError
from fedtiny.wire.adapt import AdaptResult, AdaptTask, Costs
from fedtiny.wire.kept import to_keep, to_recall
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.phase import Phase
from strategies.app import run
from strategies.exchange import FederationError

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")

Configure = Callable[..., RunConfig]
LESSONS = 2


@pytest.fixture(scope="module")
def configure() -> Configure:
    from conftest import DEMO, TINY

    from fedtiny.config import load

    quick = ("pretraining.epochs=0", "pruning.selection=none", "federation.max_failures=1")
    adapt = ("adapt.method=head", f"adapt.rounds={LESSONS}", "adapt.steps=8")
    return lambda *overrides: load(DEMO, [*TINY, *quick, *adapt, *overrides])


def federate(
    config: RunConfig, path: Path, app: ClientApp | None = None, resume: bool = False
) -> RunFolder:
    folder = RunFolder(path)
    run(config, LossyGrid(app or client_app(HANDLERS), config, folder), folder, resume)
    return folder


@pytest.fixture(scope="module")
def together(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = configure("federation.adapt=federated")
    return federate(config, tmp_path_factory.mktemp("together"))


def adapt_exchanges(folder: RunFolder) -> list[Exchanged]:
    return [one for one in folder.events(Exchanged) if one.phase is Phase.ADAPT]


def test_the_backbone_travels_once_and_then_only_what_is_trained(together: RunFolder) -> None:
    first, *later = adapt_exchanges(together)
    assert [one.round for one in (first, *later)] == [3, 4, 5], "learned twice, then tested"
    classifier = TrainedModel.load(together.model).graph.layers[-1]
    size = 4 * sum(int(np.prod(row.shape)) for row in classifier.parameters)
    assert {"masks", "values", "dense"} <= first.down.kinds.keys()
    assert "trained" not in first.down.kinds, "how a method begins follows from the seed"
    for one in later:
        assert one.down.kinds.keys() == {"trained", "round", "learn", "kept"}
        assert one.down.kinds["trained"] == 8 * size
    for one in (first, *later[:-1]):
        assert one.up.kinds["trained"] == 8 * size
    assert "trained" not in later[-1].up.kinds


def test_the_adapted_model_is_the_finished_one_with_another_head(together: RunFolder) -> None:
    finished = TrainedModel.load(together.model)
    adapted = TrainedModel.load(together.adapted("head").model)
    recipe = METHODS[MethodName.HEAD](_task(finished))
    names = set(recipe.trained or ())
    for name, array in recipe.model.dense.items():
        assert np.array_equal(array, adapted.model.dense[name]) == (name not in names), name
    config = together.load_config()
    server = load_server(together.data, config.data, config.seed)
    tests = [one for one in together.events(AdaptedTested) if one.group == "unseen_people"]
    for one in tests:
        person = server.unseen.take((server.unseen.owner == one.who).nonzero()[0])
        x, y = Samples(person, adapted.normalization).batch(np.arange(len(person)))
        executor = Executor(adapted.graph, adapted.model, EngineOptions(len(x)))
        assert (executor.logits(x).argmax(axis=1) == y).sum() == one.correct_after
    assert set(adapted.ranges) == set(adapted.graph.observed)
    assert write(together)["adapting"]["use"] == "federated"
    assert "Measured peaks that differ from the plan's: 0 of 8" in together.path.joinpath(
        "report.md"
    ).read_text(encoding="utf-8")


def _task(finished: TrainedModel) -> Task:
    x = np.zeros((0, *finished.graph.input_shape), np.float32)
    return Task(finished.graph, finished.model, x, np.zeros(0, np.int64), 0)


def test_what_is_cut_off_while_devices_adapt_ends_with_the_same_bytes(
    together: RunFolder, configure: Configure, tmp_path: Path
) -> None:
    def unable(device: Device, packet: Packet) -> Packet:
        if packet.scalars["round"] == LESSONS:
            raise FedTinyError("the battery is low")
        return HANDLERS[Phase.ADAPT](device, packet)

    config, app = together.load_config(), client_app({**HANDLERS, Phase.ADAPT: unable})
    with pytest.raises(FederationError, match="the battery is low"):
        federate(config, tmp_path, app)
    folder = federate(config, tmp_path, resume=True)
    assert results(folder) == results(together)
    for place in (folder, together):
        place.adapted("head").model.stat()
    own, other = (one.adapted("head").model.read_bytes() for one in (folder, together))
    assert own == other


def test_alone_nothing_that_was_learned_leaves_the_device(
    configure: Configure, tmp_path: Path
) -> None:
    folder = federate(configure("federation.adapt=local", "adapt.method=bias_head"), tmp_path)
    (one,) = adapt_exchanges(folder)
    assert one.up.kinds.keys() <= Phase.ADAPT.replies.keys() - {"trained", "ranges"}
    found = folder.events(Adapted)
    assert {e.partition for e in found} == set(range(8))
    assert all(e.peak_bytes == e.predicted_peak_bytes for e in found)
    assert sum(e.correct_after for e in found) > sum(e.correct_before for e in found)
    assert not folder.adapted("bias_head").path.exists()
    assert write(folder)["adapting"]["use"] == "local"


FLEET = """
[[groups]]
name = "phones"
device = "pi_4"
count = 5
[[groups]]
name = "bracelets"
device = "nrf52840"
count = 2
[[groups]]
name = "tags"
device = "esp32_s3"
count = 1
budget_bytes = 30_000
"""
"""The bracelets' board does not train, and has room to adapt; the tag has room for neither."""


def test_a_device_that_can_train_no_part_takes_part_by_adapting(
    configure: Configure, tmp_path: Path
) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET, encoding="utf-8")
    words = ("federation.adapt=local", "tiers.policy=nested", "model.name=smartwatch_cnn@8")
    folder = federate(configure(*words, f"devices.fleet={fleet}"), tmp_path / "run")
    refused = {e.partition: e.refused for e in folder.events(DeviceDescribed) if e.refused}
    assert refused.keys() == {5, 6, 7}
    assert "does not train" in refused[5]
    asked = {e.partition for e in folder.events(TierGiven)}
    assert asked == set(range(5)), "nobody else trains in a round"
    learned = {e.partition: e for e in folder.events(Adapted)}
    assert learned.keys() == set(range(7))
    for k in (5, 6):
        assert learned[k].peak_bytes == learned[k].predicted_peak_bytes
        assert learned[k].peak_bytes <= budget_bytes(get("nrf52840"))
    (failure,) = adapt_exchanges(folder)[0].failures
    assert (failure.partition, "ledger line" in failure.reason) == (7, True)
    found = write(folder)["adapting"]
    assert (found["only_adapt"], found["asked"]) == ([5, 6], 8)
    counted = sum(e.correct_after for e in learned.values()) / sum(
        e.count for e in learned.values()
    )
    assert accuracies(found, "same_people")[1] == pytest.approx(counted)
    text = (folder.path / "report.md").read_text(encoding="utf-8")
    assert "7 of 8 devices learned of their own" in text
    assert "2 can train no part of the model and took part so: client 5, client 6." in text


def test_a_liar_is_left_out_and_named_and_one_that_forgot_gets_the_backbone_again(
    configure: Configure, tmp_path: Path
) -> None:
    def odd(device: Device, packet: Packet) -> Packet:
        if device.partition == 5 and packet.scalars["round"] == 1:
            raise FedTinyError("the battery is low")
        reply = HANDLERS[Phase.ADAPT](device, packet)
        if device.partition == 3 and "trained" in reply.arrays:
            far = {**reply.arrays, "trained": reply.arrays["trained"] + 1000}
            return replace(reply, arrays=far)
        return reply

    config = configure("federation.adapt=federated")
    folder = federate(config, tmp_path, client_app({**HANDLERS, Phase.ADAPT: odd}))
    assert {(e.round, e.partition) for e in folder.events(Doubted)} == {(3, 3), (4, 3)}
    values = TrainedModel.load(folder.adapted("head").model).model.dense
    assert max(np.abs(array).max() for array in values.values()) < 100
    _, second, third = adapt_exchanges(folder)
    assert "masks" in second.down.kinds, "partition 5 never answered the one that had them"
    assert second.answered == 8
    assert "masks" not in third.down.kinds


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("federation.adapt=federated", "adapt.method=fisher"), 'federation.adapt = "local"'),
        (("federation.adapt=federated", "adapt.method=full"), "bias_head"),
        (("federation.adapt=federated", "tiers.policy=nested"), "averages what is learned beside"),
        (("federation.adapt=sometimes",), "federation.adapt"),
        (("adapt.method=heads",), "adapt.method"),
        (("adapt.steps=0",), "adapt.steps"),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_the_run(
    overrides: tuple[str, ...], words: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError, match=words):
        configure(*overrides)


def test_values_are_the_inverse_of_at_for_every_method_that_may_travel(
    together: RunFolder,
) -> None:
    finished = TrainedModel.load(together.model)
    for method in MethodName:
        if method is MethodName.FISHER:
            continue
        recipe = METHODS[method](_task(finished))
        if method is MethodName.FULL:
            with pytest.raises(AdaptError, match="send the model"):
                recipe.values(recipe.model)
            continue
        start = recipe.values(recipe.model)
        other = np.arange(start.size, dtype=np.float32)
        np.testing.assert_array_equal(recipe.values(recipe.at(other).model), other)
        np.testing.assert_array_equal(recipe.values(recipe.model), start)
        with pytest.raises(AdaptError, match="numbers for the"):
            recipe.at(other[1:])


def test_a_node_that_lost_what_it_kept_says_so() -> None:
    context = Context(0, 0, {}, RecordDict(), {})
    kept = to_keep(Packet({"values": np.arange(3, dtype=np.float32)}))
    later = to_recall(Packet({"trained": np.zeros(1, np.float32)}))
    with pytest.raises(WireError, match="no longer has the model"):
        recall(context, later)
    assert recall(context, kept) is kept
    assert recall(context, Packet()).arrays == {}
    np.testing.assert_array_equal(recall(context, later).arrays["values"], [0, 1, 2])


GOOD = AdaptResult(10, 0.5, 4, 1, 3, Costs(2, 100, 200, 200), np.float32([1, 2]))


@pytest.mark.parametrize(
    ("scalars", "arrays", "words"),
    [
        ({"count": 0}, {}, "learned from 0"),
        ({"tested": 9}, {}, "described 5"),
        ({"correct_after": 5}, {}, "more than the 4"),
        ({"loss": float("nan")}, {}, "loss"),
        ({"peak_bytes": 2**60}, {}, "peak_bytes"),
        ({}, {"trained": np.float32([1])}, "trained"),
        ({}, {"trained": np.float32([1, np.nan])}, "trained"),
    ],
)
def test_replies_are_bounded(scalars: dict, arrays: dict, words: str, together: RunFolder) -> None:
    graph = TrainedModel.load(together.model).graph
    packet = GOOD.packet(graph)
    again = AdaptResult.read(graph, True, 2, 5, packet)
    assert (again.costs, again.correct_after) == (GOOD.costs, 3)
    bad = Packet({**packet.arrays, **arrays}, {**packet.scalars, **scalars})
    with pytest.raises(WireError, match=words):
        AdaptResult.read(graph, True, 2, 5, bad)


def test_the_adapted_model_is_exported_like_any_other(together: RunFolder) -> None:
    place = place_of(together, adapted="head")
    found = export_run(together, check=False, place=place)
    assert place.firmware.is_dir()
    tests = together.events(AdaptedTested)
    share = sum(one.correct_after for one in tests) / sum(one.count for one in tests)
    samples = {"same_people": 0, "unseen_people": 0}
    for one in tests:
        samples[one.group] += one.count
    float_share = sum(found["float"][k] * n for k, n in samples.items()) / sum(samples.values())
    assert float_share == pytest.approx(share)
    with pytest.raises(FedTinyError, match="there is head"):
        place_of(together, adapted="lora")
    order = Order(adapted="head")
    with pytest.raises(FedTinyError, match="leave one out"):
        export_trained(together, order, (), False, OnDevice(MethodName.HEAD))
    with pytest.raises(FedTinyError, match="name one model"):
        place_of(together, tier="pi_4", adapted="head")


def test_a_board_without_room_is_named_before_the_run(configure: Configure) -> None:
    small = configure("federation.adapt=local", "devices.budget_bytes={2=100000}")
    graph = small.graph((6, 1, 128), 7)
    (reason,) = unable_to_adapt(small, graph).values()
    assert "stm32f746g_disco cannot adapt by head" in reason
    assert "ledger line" in reason
    assert unable_to_adapt(configure("devices.budget_bytes={2=100000}"), graph) == {}
    assert unable_to_adapt(configure("federation.adapt=local"), graph) == {}


def test_a_real_device_keeps_what_it_learned_of_its_own_user(
    together: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    finished = TrainedModel.load(together.model)
    tree = together.load_config().model_dump(mode="json")
    tree["federation"]["adapt"] = "local"
    share, graph = client_file(together.data, 0), finished.graph.to_json()
    device = Device(parse(tree), 0, share, "pi_zero_2_w", graph, real=True)
    task = AdaptTask(ModelTask(finished.model, finished.normalization), 1)
    reply = adapt(device, task.packet(device.graph))
    assert "trained" not in reply.arrays
    kept = TrainedModel.load(own_model(device))
    assert own_model(device).is_relative_to(tmp_path)
    tested = Samples(device.data.test, kept.normalization)
    executor = Executor(kept.graph, kept.model, EngineOptions(4))
    assert correct(executor, tested) == reply.scalars["correct_after"]
    assert set(kept.ranges) == set(kept.graph.observed), "it can be exported"
