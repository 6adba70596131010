"""Nodes that go away, come back, come late, or are too slow: the run goes on, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given
from hypothesis import strategies as st
from test_faults import LossyGrid
from typing_extensions import override

from clients.app import client_app
from clients.device import Device
from clients.handlers import HANDLERS
from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.runs.events import Evaluated, Exchanged, NodeIgnored
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from sims.grids.inline import InlineGrid
from sims.grids.local import stamp
from strategies.app import run
from strategies.exchange import FederationError
from strategies.members import Claim, Members
from strategies.post import Post

GONE = 3
"""The partition whose node comes and goes."""

Configure = Callable[..., RunConfig]


class FlickeringGrid(LossyGrid):
    """Its nodes are connected when ``online`` says so; asking another is an error of the test."""

    def __init__(
        self,
        app: ClientApp,
        config: RunConfig,
        folder: RunFolder,
        online: Callable[[int, int], bool],
    ) -> None:
        super().__init__(app, config, folder)
        self._is_online = online
        self.round = 0

    @override
    def get_node_ids(self) -> Iterable[int]:
        return [n for n in super().get_node_ids() if self._is_online(n - 1, self.round)]

    @override
    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        for message in messages:
            assert self._is_online(message.metadata.dst_node_id - 1, self.round)
        if messages and messages[0].metadata.message_type == Phase.TRAIN.action:
            self.round = int(messages[0].metadata.group_id)
        return super().push_messages(messages)


@pytest.fixture
def quick(tiny_config: Configure) -> Configure:
    rest = ("devices.fleet=[]", "pretraining.epochs=0", "pruning.selection=none")
    return lambda *overrides: tiny_config(*rest, "federation.rounds=4", *overrides)


def trained(folder: RunFolder) -> list[tuple[int, int]]:
    events = [e for e in folder.events(Exchanged) if e.phase is Phase.TRAIN]
    return [(e.asked, e.answered) for e in events]


def test_a_node_that_is_away_is_not_waited_for_and_takes_part_when_it_is_back(
    quick: Configure, tmp_path: Path
) -> None:
    config, folder = quick("federation.min_clients=7"), RunFolder(tmp_path)
    grid = FlickeringGrid(
        client_app(HANDLERS), config, folder, lambda k, round: k != GONE or round not in (1, 2)
    )
    run(config, grid, folder, resume=False)
    assert trained(folder) == [(8, 8), (7, 7), (7, 7), (8, 8)]
    joins = [(e.round, e.asked) for e in folder.events(Exchanged) if e.phase is Phase.JOIN]
    assert joins[0] == (0, 8)
    assert joins[1:] == [(4, 1)], "who comes back is asked again, the others are not"


def test_a_node_that_comes_late_takes_part_from_then_on(quick: Configure, tmp_path: Path) -> None:
    config, folder = quick("federation.min_clients=7"), RunFolder(tmp_path)
    grid = FlickeringGrid(
        client_app(HANDLERS), config, folder, lambda k, round: k != GONE or round >= 2
    )
    run(config, grid, folder, resume=False)
    assert trained(folder) == [(7, 7), (7, 7), (8, 8), (8, 8)]


def test_too_few_nodes_stop_the_run_with_the_fix(quick: Configure, tmp_path: Path) -> None:
    config = quick("federation.min_clients=8", "federation.timeout_s=0.3")
    folder = RunFolder(tmp_path)
    grid = FlickeringGrid(client_app(HANDLERS), config, folder, lambda k, r: k != GONE or r < 2)
    with pytest.raises(FederationError, match=r"7 of 8 nodes connected.*min_clients"):
        run(config, grid, folder, resume=False)
    assert folder.checkpoints.is_dir()


def test_the_error_names_the_setting_that_was_set(quick: Configure, tmp_path: Path) -> None:
    def unable(device: Device, packet: Packet) -> Packet:
        raise FedTinyError("the battery is low")

    config, folder = quick("federation.min_clients=6"), RunFolder(tmp_path)
    app = client_app({**HANDLERS, Phase.TRAIN: unable})
    with pytest.raises(
        FederationError, match=r"8 client\(s\) failed, federation.min_clients = 6\."
    ):
        run(config, LossyGrid(app, config, folder), folder, resume=False)


def test_no_evaluation_ends_a_run(quick: Configure, tmp_path: Path) -> None:
    def unable(device: Device, packet: Packet) -> Packet:
        raise FedTinyError("the display is on")

    config, folder = quick("federation.rounds=2"), RunFolder(tmp_path)
    app = client_app({**HANDLERS, Phase.EVALUATE: unable})
    run(config, LossyGrid(app, config, folder), folder, resume=False)
    assert folder.model.is_file()
    assert {e.group for e in folder.events(Evaluated)} == {"unseen_people"}
    failed = [e for e in folder.events(Exchanged) if e.phase is Phase.EVALUATE]
    assert [len(e.failures) for e in failed] == [8, 8]


def test_a_node_that_cannot_join_is_named_by_its_id_and_not_needed(
    quick: Configure, tmp_path: Path
) -> None:
    def broken(device: Device, packet: Packet) -> Packet:
        if device.partition == GONE:
            raise FedTinyError("no room on its disk")
        return HANDLERS[Phase.JOIN](device, packet)

    config, folder = quick("federation.min_clients=6", "federation.rounds=2"), RunFolder(tmp_path)
    app = client_app({**HANDLERS, Phase.JOIN: broken})
    run(config, LossyGrid(app, config, folder), folder, resume=False)
    (ignored, *_) = folder.events(NodeIgnored)
    assert ignored.node == str(GONE + 1)
    assert "no room on its disk" in ignored.reason
    assert trained(folder) == [(7, 7), (7, 7)]


def test_a_round_is_over_when_enough_have_answered(quick: Configure, tmp_path: Path) -> None:
    config = quick("federation.clients_per_round=4", "federation.over_selection=0.5")
    folder = RunFolder(tmp_path)
    run(config, LossyGrid(client_app(HANDLERS), config, folder), folder, resume=False)
    assert trained(folder) == [(6, 4)] * 4
    assert not any(e.failures for e in folder.events(Exchanged))


class SlowGrid:
    """A network where nobody answers; counts how often it was asked, which takes some seconds."""

    def __init__(self, asking_s: float = 0.0) -> None:
        self.asking_s = asking_s
        self.pulls = 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [stamp(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        self.pulls += 1
        time.sleep(self.asking_s)
        yield from ()


def test_waiting_does_not_flood_the_network() -> None:
    grid = SlowGrid()
    assert Post(grid, 1.0).deliver({1: RecordDict()}, "train", 1) == {}
    assert grid.pulls < 70, "every 5 ms would be 200 times"
    dear = SlowGrid(0.01)
    assert Post(dear, 1.0).deliver({1: RecordDict()}, "train", 1) == {}
    assert dear.pulls <= 6, "asking is to take a twentieth of the time"


class PatientGrid(InlineGrid):
    """A simulator that waits 0.1 s when it is asked, four times in vain."""

    pulls = 0

    @override
    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        self.pulls += 1
        time.sleep(0.1)
        if self.pulls > 4:
            for message in self._waiting.values():
                yield Message(RecordDict(), reply_to=message)


def test_a_simulator_that_waits_itself_is_asked_again_at_once() -> None:
    grid = PatientGrid(client_app({}), 1, {})
    started = time.monotonic()
    assert len(Post(grid, 60.0).deliver({1: RecordDict()}, "train", 1)) == 1
    assert grid.pulls == 5
    assert time.monotonic() - started < 0.9, "its clients work on only while somebody asks"


class ErrorGrid(InlineGrid):
    """The first node's reply is an error, the others have content."""

    def __init__(self) -> None:
        super().__init__(client_app({}), 3, {})

    @override
    def get_node_ids(self) -> Iterable[int]:
        return [3, 1, 2]

    @override
    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        for message_id in message_ids:
            message = self._waiting.pop(message_id)
            bad = message.metadata.dst_node_id == 1
            content = Error(1, "lost") if bad else RecordDict()
            yield Message(content, reply_to=message)


def test_an_error_is_not_one_of_the_replies_that_are_enough() -> None:
    grid = ErrorGrid()
    contents = dict.fromkeys([1, 2, 3], RecordDict())
    replies = Post(grid, 1.0).deliver(contents, "train", 1, enough=1)
    assert sum(one.has_content() for one in replies.values()) == 1
    assert Post(grid, 1.0).nodes() == [1, 2, 3]


def test_a_device_that_restarts_as_another_node_keeps_its_partition() -> None:
    members = Members(2)
    assert members.admit([Claim(10, 0), Claim(11, 1)], [10, 11]) == {}
    assert members.admit([Claim(12, 1)], [10, 12]) == {}, "11 is away"
    assert members.nodes == {0: 10, 1: 12}
    refused = members.admit([Claim(13, 1)], [10, 12, 13])
    assert "nodes 12 and 13 both hold partition 1" in refused[13]
    assert members.nodes == {0: 10, 1: 12}


claims = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 5)), unique_by=lambda one: one[0], max_size=9
)


@given(claims, st.sets(st.integers(1, 9)))
def test_every_partition_has_at_most_one_node_and_every_node_is_accounted_for(
    pairs: list[tuple[int, int]], away: set[int]
) -> None:
    members = Members(4)
    online = [node for node, _ in pairs]
    ignored = members.admit([Claim(*pair) for pair in pairs], online)
    assert set(members.nodes.values()) | set(ignored) == set(online)
    assert not set(members.nodes.values()) & set(ignored)
    assert all(partition < 4 for partition in members.nodes)
    assert members.strangers(online) == []
    left = [node for node in online if node not in away]
    assert set(members.present(left).values()) <= set(left)
    assert sorted([*members.missing(left), *members.present(left)]) == [0, 1, 2, 3]
    assert set(members.strangers(left)) == set()
    assert set(members.strangers(online)) == set(online) - set(left)
