"""Ask devices, wait, check, count: every message of a run goes through here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from math import inf
from typing import TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from clients.records import task_of, to_packet, to_record, wire_bytes
from fedtiny.config.sections import FederationConfig
from fedtiny.errors import FedTinyError
from fedtiny.runs.events import (
    Banned,
    Doubted,
    Event,
    Exchanged,
    Failure,
    NodeIgnored,
    Traffic,
)
from fedtiny.wire.join import JoinResult, JoinTask
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.phase import Phase

Result = TypeVar("Result")


class FederationError(FedTinyError):
    """Too many clients failed, or too few appeared; the message names them."""


class Exchange:
    """Talks to devices by partition, whatever node each one lives on.

    Args:
        grid: Flower's, or one of ours.
        run: short name of the run, which every reply has to repeat.
        federation: how long to wait and how many may fail.
        sends: what devices may send in training besides what that phase's file lists.
        max_offences: after so many replies that were refused or doubted, a device is not asked
            again; 0: it always is.
        begin: called when an exchange starts.
        report: told what happened.

    Attributes:
        offences: by partition, counted so far.
    """

    def __init__(
        self,
        grid: Grid,
        run: str,
        federation: FederationConfig,
        sends: Set[str],
        max_offences: int,
        begin: Callable[[Phase, int], None],
        report: Callable[[Event], None],
    ) -> None:
        self._grid = grid
        self._run = run
        self._timeout_s = federation.timeout_s
        self._max_failures = federation.max_failures
        self._sends = sends
        self._max_offences = max_offences or inf
        self._begin = begin
        self._report = report
        self._nodes: dict[int, int] = {}
        self.offences: Counter[int] = Counter()

    def join(self, partitions: int, task: JoinTask) -> None:
        """Wait for nodes, send each one the model, and ask which partition it holds.

        Node ids are random in every run; partitions are not. Everything after this is addressed
        and ordered by partition. A node that holds no partition of this run, or one that another
        node holds already, takes no part; who of two is right nobody here can know, so the node
        with the lower id stays.

        Raises:
            FederationError: too few nodes in time, or more than ``max_failures`` partitions that
                no node holds.
        """
        nodes = self._wait_for_nodes(partitions)
        self._nodes = dict(enumerate(nodes))
        packets = dict.fromkeys(self._nodes, task.packet())
        answers = self.ask(
            Phase.JOIN, 0, packets, lambda _, reply: JoinResult.read(reply).partition
        )
        held: dict[int, int] = {}
        ignored: list[str] = []
        for position, partition in answers.items():
            reason = ""
            if partition >= partitions:
                reason = f"partition {partition} is none of 0..{partitions - 1}"
            elif partition in held:
                reason = (
                    f"nodes {held[partition]} and {nodes[position]} both hold partition "
                    f"{partition}; give each SuperNode its own partition-id"
                )
            else:
                held[partition] = nodes[position]
            if reason:
                ignored.append(reason)
                self._report(NodeIgnored(0, str(nodes[position]), reason))
        missing = sorted(set(range(partitions)) - set(held))
        if len(missing) > self._max_failures or not held:
            raise FederationError(
                f"no node holds partition {', '.join(map(str, missing))}; start one with "
                "--node-config 'partition-id=…', or set data.partitions to what there is"
                + "".join(f". {reason}" for reason in ignored)
            )
        self._nodes = held

    def ask(
        self,
        phase: Phase,
        round: int,
        packets: Mapping[int, Packet],
        read: Callable[[int, Packet], Result],
    ) -> dict[int, Result]:
        """Send every partition its packet; the checked results, in partition order.

        Partitions that no node holds, and those that are banned, are not asked.

        Args:
            phase: decides which action runs.
            round: 0 outside rounds.
            packets: what to send, by partition. One object that several get is serialized once.
            read: turns a reply into a result, or raises FedTinyError if it is not one.

        Raises:
            FederationError: more than ``max_failures`` clients failed, or all did.
        """
        started = time.monotonic()
        self._begin(phase, round)
        packets = {k: packet for k, packet in packets.items() if self._is_asked(k)}
        task = f"{self._run} {phase} {round}"
        known = {*phase.replies, *(self._sends if phase is Phase.TRAIN else ())}
        nodes = {self._nodes[k]: packet for k, packet in packets.items()}
        records = {id(packet): to_record(packet, task) for packet in packets.values()}
        replies = self._send(nodes, records, phase.action, round)
        results: dict[int, Result] = {}
        failures: list[Failure] = []
        received: list[tuple[Packet, int]] = []
        for partition in sorted(packets):
            try:
                reply = _content(replies.get(self._nodes[partition]), self._timeout_s)
                received.append(
                    (answer := to_packet(reply.content, known), wire_bytes(reply.content))
                )
                _check_task(reply, task)
                results[partition] = read(partition, answer)
            except _ReplyError as error:
                failures.append(Failure(partition, str(error)))
            except FedTinyError as error:
                failures.append(Failure(partition, str(error), refused=True))
        sizes = {key: wire_bytes(record) for key, record in records.items()}
        sent = [(packet, sizes[id(packet)]) for packet in packets.values()]
        self._report(
            Exchanged(
                round,
                phase,
                len(packets),
                len(results),
                _traffic(sent),
                _traffic(received),
                tuple(failures),
                time.monotonic() - started,
            )
        )
        for failure in failures:
            if failure.refused:
                self._count(round, failure.partition)
        self._check(phase, round, failures, results)
        return results

    def doubt(self, phase: Phase, round: int, reasons: Mapping[int, str]) -> None:
        """Tell of replies that were well-formed but not believed, and count them as offences."""
        for partition, reason in reasons.items():
            self._report(Doubted(round, phase, partition, reason))
            self._count(round, partition)

    def _count(self, round: int, partition: int) -> None:
        self.offences[partition] += 1
        if self.offences[partition] == self._max_offences:
            self._report(Banned(round, partition, self.offences[partition]))

    def _is_asked(self, partition: int) -> bool:
        return partition in self._nodes and self.offences[partition] < self._max_offences

    def _check(
        self, phase: Phase, round: int, failures: list[Failure], results: Mapping[int, object]
    ) -> None:
        if len(failures) > self._max_failures or not results:
            where = f"round {round}, {phase}" if round else phase
            raise FederationError(
                f"{where}: {len(failures)} client(s) failed, federation.max_failures = "
                f"{self._max_failures}. " + "; ".join(map(str, failures))
            )

    def _send(
        self,
        packets: Mapping[int, Packet],
        records: Mapping[int, RecordDict],
        action: str,
        round: int,
    ) -> dict[int, Message]:
        """Replies by node id. A lost node's error has no source: replies are matched by message."""
        messages = [
            Message(records[id(packet)], node, action, group_id=str(round))
            for node, packet in packets.items()
        ]
        return self._collect(dict(zip(self._grid.push_messages(messages), packets, strict=True)))

    def _collect(self, nodes: Mapping[str, int]) -> dict[int, Message]:
        replies: dict[int, Message] = {}
        deadline = time.monotonic() + self._timeout_s
        pending = set(nodes)
        while pending:
            for reply in self._grid.pull_messages(list(pending)):
                message_id = reply.metadata.reply_to_message_id
                pending.discard(message_id)
                replies[nodes[message_id]] = reply
            if not pending or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        return replies

    def _wait_for_nodes(self, count: int) -> list[int]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            nodes = sorted(self._grid.get_node_ids())
            if len(nodes) >= count:
                return nodes
            if time.monotonic() > deadline:
                raise FederationError(
                    f"{len(nodes)} of {count} nodes connected within {self._timeout_s:.0f} s; "
                    "start more SuperNodes (or --num-supernodes), or lower data.partitions"
                )
            time.sleep(_JOIN_POLL_S)


_POLL_S = 0.005
_JOIN_POLL_S = 0.2


class _ReplyError(FedTinyError):
    """A reply that carries no content."""


def _content(reply: Message | None, timeout_s: float) -> Message:
    if reply is None:
        raise _ReplyError(f"no reply within {timeout_s:.0f} s")
    if reply.has_error():
        raise _ReplyError(f"{reply.error.reason} (Flower error {reply.error.code})")
    return reply


def _check_task(reply: Message, task: str) -> None:
    """Raises WireError unless a reply says that it answers this task of this run."""
    said = task_of(reply.content)
    if said != task:
        raise WireError(f"answers {said[:60]!r}, but was asked {task!r}")


def _traffic(messages: Sequence[tuple[Packet, int]]) -> Traffic:
    kinds: dict[str, int] = {}
    for packet, _ in messages:
        for name, size in packet.kinds().items():
            kinds[name] = kinds.get(name, 0) + size
    return Traffic(
        sum(packet.payload_bytes for packet, _ in messages), sum(w for _, w in messages), kinds
    )
