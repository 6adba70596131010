"""Ask devices, wait, check, count: every message of a run goes through here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from math import inf
from typing import TypeVar

from flwr.app import Message

from clients.records import to_packet, to_record, wire_bytes
from fedtiny.config.adapt import AdaptUse
from fedtiny.config.sections import FederationConfig
from fedtiny.errors import FedTinyError
from fedtiny.federation.sampling import asked_in
from fedtiny.runs.event_parts import Failure
from fedtiny.runs.events import Banned, Doubted, Event, Exchanged, NodeIgnored
from fedtiny.wire.join import JoinResult, JoinTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.delivery import Outgoing, ReplyError, check_task, content_of, traffic
from strategies.members import Claim, Members
from strategies.post import Post

Result = TypeVar("Result")


class FederationError(FedTinyError):
    """Too many clients failed, or too few appeared; the message names them."""


class Exchange:
    """Talks to devices by partition, whatever node each one lives on.

    Args:
        post: carries messages.
        run: short name of the run, which every reply has to repeat.
        partitions, seed: of the run.
        federation: how many may fail or be away, and how many are asked where all need not be.
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
        post: Post,
        run: str,
        partitions: int,
        seed: int,
        federation: FederationConfig,
        sends: Set[str],
        max_offences: int,
        begin: Callable[[Phase, int], None],
        report: Callable[[Event], None],
    ) -> None:
        self._post = post
        self._run = run
        self._partitions = partitions
        self._seed = seed
        self._joins_late = federation.describe_clients > 0 and post.knows_partitions
        self._federation = federation
        self._tolerated = federation.tolerated(partitions)
        rule = "min_clients" if federation.min_clients else "max_failures"
        self._rule = f"federation.{rule} = {getattr(federation, rule)}"
        self._sends = sends
        self._max_offences = max_offences or inf
        self._begin = begin
        self._report = report
        self._members = Members(partitions)
        self._online: list[int] = []
        self._joining: JoinTask | None = None
        self.offences: Counter[int] = Counter()

    def join(self, task: JoinTask, round: int = 0) -> None:
        """Wait until enough nodes are connected, and take in those that are new.

        Each new one gets the model and is asked which partition it holds
        (:class:`~strategies.members.Members`). Before every round: one that was away or joins late
        takes part from now on. With ``federation.describe_clients``, on a grid that knows who holds
        what, a node joins before its first task.

        Raises:
            FederationError: more partitions are held by no connected node than may be away.
        """
        self._joining = task
        needed = self._partitions - self._tolerated
        self._online = self._post.wait_for(needed)
        if len(self._online) < needed:
            raise FederationError(
                f"{len(self._online)} of {needed} nodes connected within "
                f"{self._post.timeout_s:.0f} s; start more SuperNodes (or --num-supernodes), or "
                "lower data.partitions or federation.min_clients"
            )
        if self._joins_late:
            return
        ignored = self._take_in(round, set(self._online))
        if len(self._members.missing(self._online)) > self._tolerated:
            # Perhaps a node that is not needed was faster.
            self._online = self._post.wait_for(len(self._online) + 1, at_most_s=_SETTLE_S)
            ignored |= self._take_in(round, set(self._online))
        if len(missing := self._members.missing(self._online)) > self._tolerated:
            raise FederationError(
                f"no node holds partition {', '.join(map(str, missing))}; start one with "
                "--node-config 'partition-id=…', or set data.partitions to what there is"
                + "".join(f". {reason}" for reason in ignored.values())
            )

    def _take_in(self, round: int, nodes: Collection[int]) -> dict[int, str]:
        """Ask those of ``nodes`` that are new; those that take no part, with the reason."""
        strangers = [one for one in self._members.strangers(self._online) if one in nodes]
        if not strangers or self._joining is None:
            return {}
        packets = dict.fromkeys(strangers, self._joining.packet())
        sent = self._outgoing(Phase.JOIN, round, packets, {node: node for node in strangers})
        claims, failures = self._incoming(
            sent,
            self._post.deliver(sent.contents, Phase.JOIN.action, round),
            lambda node, packet: Claim(node, JoinResult.read(packet).partition),
        )
        ignored = {one.partition: one.reason for one in failures}
        ignored |= self._members.admit(list(claims.values()), self._online)
        for node, reason in ignored.items():
            self._report(NodeIgnored(round, str(node), reason))
        return ignored

    def ask(
        self,
        phase: Phase,
        round: int,
        packets: Mapping[int, Packet],
        read: Callable[[int, Packet], Result],
        enough: int | None = None,
        heard: dict[int, int] | None = None,
    ) -> dict[int, Result]:
        """Send every partition its packet; the checked results, in partition order.

        Partitions whose node is away, and those that are banned, are not asked.

        Args:
            phase: decides which action runs.
            round: 0 outside rounds.
            packets: what to send, by partition. One object that several get is serialized once.
            read: turns a reply into a result, or raises FedTinyError if it is not one.
            enough: go on as soon as so many have replied; the others are late, which is no failure.
            heard: gets the bytes on the wire of every reply, by partition.

        Raises:
            FederationError: more clients failed or were away than may, or all did. An evaluation
                never fails, nor do descriptions of those that are asked to train, nor devices that
                adapt alone.
        """
        sent = self.outgoing(phase, round, packets)
        replies = self._post.deliver(sent.contents, phase.action, round, enough)
        if heard is not None:
            for k, node in sent.nodes.items():
                reply = replies.get(node)
                if reply is not None and reply.has_content():
                    heard[k] = wire_bytes(reply.content)
        return self.incoming(sent, replies, read, enough)

    def sizes(self, phase: Phase, round: int, packets: Mapping[int, Packet]) -> dict[int, int]:
        """Bytes on the wire that :meth:`ask` would send, by partition."""
        task = self._task(phase, round)
        sizes = {id(one): wire_bytes(to_record(one, task)) for one in packets.values()}
        return {k: sizes[id(packet)] for k, packet in packets.items()}

    def _task(self, phase: Phase, round: int) -> str:
        return f"{self._run} {phase} {round}"

    def asked(self, phase: Phase, round: int) -> list[int]:
        """The partitions that a phase without training asks, ascending: all, or a draw of them."""
        everybody: Sequence[int] = range(self._partitions)
        if round:  # before round 1 all the phases ask the same
            everybody = [k for k in everybody if self.offences[k] < self._max_offences]
        return asked_in(phase, round, everybody, self._federation, self._seed)

    def connected(self, partitions: Iterable[int]) -> list[int]:
        """Those of ``partitions`` whose node was connected when somebody last looked."""
        if self._joins_late:
            return list(partitions)
        present = self._members.present(self._online)
        return [k for k in partitions if k in present]

    def outgoing(self, phase: Phase, round: int, packets: Mapping[int, Packet]) -> Outgoing:
        """The first half of :meth:`ask`, for whoever carries messages otherwise: what to send."""
        self._online = self._post.nodes()
        invited = [k for k in packets if self.offences[k] < self._max_offences]
        if self._joins_late:
            self._take_in(round, {self._post.node_of(k) for k in invited})
        present = self._members.present(self._online)
        nodes = {k: present[k] for k in invited if k in present}
        asked = {k: packets[k] for k in nodes}
        away = [k for k in invited if k not in nodes]
        return self._outgoing(phase, round, asked, nodes, away)

    def incoming(
        self,
        sent: Outgoing,
        replies: Mapping[int, Message],
        read: Callable[[int, Packet], Result],
        enough: int | None = None,
    ) -> dict[int, Result]:
        """The second half of :meth:`ask`: the checked results of ``replies``, by node id."""
        results, failures = self._incoming(sent, replies, read, enough)
        for failure in failures:
            if failure.refused:
                self._count(sent.round, failure.partition)
        if not self._may_fail(sent.phase, sent.round):
            self._check(sent, failures, results)
        return results

    def _outgoing(
        self,
        phase: Phase,
        round: int,
        packets: Mapping[int, Packet],
        nodes: Mapping[int, int],
        away: Sequence[int] = (),
    ) -> Outgoing:
        """Keys are partitions, or nodes that have none yet."""
        self._begin(phase, round)
        task = self._task(phase, round)
        records = {id(packet): to_record(packet, task) for packet in packets.values()}
        contents = {nodes[k]: records[id(packet)] for k, packet in packets.items()}
        return Outgoing(phase, round, task, packets, nodes, contents, away, time.monotonic())

    def _incoming(
        self,
        sent: Outgoing,
        replies: Mapping[int, Message],
        read: Callable[[int, Packet], Result],
        enough: int | None = None,
    ) -> tuple[dict[int, Result], list[Failure]]:
        """Read and check the replies, and tell of them."""
        phase = sent.phase
        known = {*phase.replies, *(self._sends if phase is Phase.TRAIN else ())}
        is_over = enough is not None and sum(r.has_content() for r in replies.values()) >= enough
        results: dict[int, Result] = {}
        failures: list[Failure] = []
        received: list[tuple[Packet, int]] = []
        for k in sorted(sent.packets):
            node = sent.nodes[k]
            if node not in replies and is_over:
                continue
            try:
                reply = content_of(replies.get(node), self._post.timeout_s)
                answer = to_packet(reply.content, known)
                received.append((answer, wire_bytes(reply.content)))
                check_task(reply, sent.task)
                results[k] = read(k, answer)
            except ReplyError as error:
                failures.append(Failure(k, str(error)))
            except FedTinyError as error:
                failures.append(Failure(k, str(error), refused=True))
        self._report(
            Exchanged(
                sent.round,
                phase,
                len(sent.packets),
                len(results),
                sent.traffic(),
                traffic(received),
                () if phase is Phase.JOIN else tuple(failures),
                time.monotonic() - sent.started,
            )
        )
        return results, failures

    def _may_fail(self, phase: Phase, round: int) -> bool:
        """Whether a run goes on if nobody answers."""
        match phase:
            case Phase.EVALUATE | Phase.ENCODE:
                return True
            case Phase.ADAPT:
                return self._federation.adapt is AdaptUse.LOCAL
            case _:
                return phase is Phase.DESCRIBE and round > 0

    def doubt(self, phase: Phase, round: int, reasons: Mapping[int, str]) -> None:
        """Tell of replies that were well-formed but not believed, and count them as offences."""
        for partition, reason in reasons.items():
            self._report(Doubted(round, phase, partition, reason))
            self._count(round, partition)

    def _count(self, round: int, partition: int) -> None:
        self.offences[partition] += 1
        if self.offences[partition] == self._max_offences:
            self._report(Banned(round, partition, self.offences[partition]))

    def _check(
        self, sent: Outgoing, failures: list[Failure], results: Mapping[int, object]
    ) -> None:
        if len(failures) + len(sent.away) <= self._tolerated and results:
            return
        where = f"round {sent.round}, {sent.phase}" if sent.round else sent.phase
        away = [f"client {k}: its node is not connected" for k in sent.away]
        reasons = [*map(str, failures), *away]
        raise FederationError(
            f"{where}: {len(reasons)} client(s) failed, {self._rule}. "
            + "; ".join(reasons)
            + ("" if results else _hint(failures))
        )


_SETTLE_S = 10.0
"""For the right node to come after one that is not needed."""


def _hint(failures: Sequence[Failure]) -> str:
    """What it means that nobody's numbers can be used: they are honest."""
    if len(failures) > 1 and all(one.refused for one in failures):
        return ". All of them: the model diverged; lower training.learning_rate"
    return ""
