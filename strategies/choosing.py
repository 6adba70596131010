"""Which part of the model is the global one: devices measure all of them and choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fedtiny.config import RunConfig
from fedtiny.federation.described import counted
from fedtiny.federation.round import Federation
from fedtiny.federation.state import ServerState
from fedtiny.pruning.candidates import CandidatePool
from fedtiny.pruning.paired import compare
from fedtiny.runs.contest_events import PartCompared
from fedtiny.tiers.config import GlobalPart
from fedtiny.tiers.tier import Tier
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import about_part
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.observer import Observer


@dataclass(frozen=True)
class Choosing:
    """Of one run.

    Attributes:
        config, federation: of the run.
        exchange: to ask devices with.
        observer: is told how every part did.
    """

    config: RunConfig
    federation: Federation
    exchange: Exchange
    observer: Observer

    def run(self, round: int, state: ServerState) -> ServerState:
        """The state with its global model chosen, where ``tiers.global_part`` says so.

        Who is drawn to evaluate after ``round`` measures every part on its development samples,
        those that it could not train included: looking takes less memory than training. The lowest
        loss wins. (The narrowest within a standard error, as among shapes before round 1, would
        often be a worse one: few samples cannot tell parts apart that are far from equal.)

        Raises:
            FederationError: too many devices fail.
            SelectionError: nobody measured all parts.
        """
        parts = self.federation.parts(state)
        wanted = self.config.tiers.global_part is GlobalPart.CHOSEN
        if not wanted or len(parts.kinds) == 1:
            return state
        tiers = parts.kinds[::-1]
        asked = self.exchange.asked(Phase.EVALUATE, round)
        replies = [self._ask(state, tier, asked, round) for tier in tiers]
        found = compare(replies, "set tiers.global_part = 'largest'")
        for k, tier in enumerate(tiers):
            measured = found.losses[k], found.excesses[k], found.errors[k], len(replies[k])
            self.observer.on_event(PartCompared(round, tier, *measured, k == found.best))
        return replace(state, shared=tiers[found.best])

    def _ask(
        self, state: ServerState, tier: Tier, asked: list[int], round: int
    ) -> Mapping[int, CandidateLosses]:
        model = self.federation.model(state, tier, round)
        block = self.federation.parts(state).block(tier, round)
        task = CandidatesTask(
            CandidatePool.of(model.weights), model.dense, state.normalization, None
        )
        packet = about_part(task.packet(block.graph), block.width)
        phase, factor = Phase.CANDIDATE_LOSSES, self.config.trust.samples_factor
        read = counted(state.described, factor, phase, _read)
        return self.exchange.ask(phase, round, dict.fromkeys(asked, packet), read)


def _read(_partition: int, reply: Packet) -> CandidateLosses:
    return CandidateLosses.read(1, reply)
