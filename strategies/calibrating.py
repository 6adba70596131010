"""After the rounds: devices say what ranges values have in the finished model, for int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.aggregation.bounds import implausible_ranges
from fedtiny.aggregation.ranges import merge_ranges
from fedtiny.config import RunConfig
from fedtiny.data.server import ServerData
from fedtiny.federation.parts import grouped
from fedtiny.federation.round import Federation
from fedtiny.federation.state import ServerState
from fedtiny.runs.events import TierMissing
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.tiers.tier import Tier
from fedtiny.training.trainer import Ranges
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.model_tasks import model_packets
from strategies.observer import Observer
from strategies.trained import Trained


@dataclass(frozen=True)
class Calibrating:
    """Of one run.

    Attributes:
        config, federation: of the run.
        data: labels and sensor.
        exchange: to ask devices with.
        observer: is told of parts that nobody calibrated.
    """

    config: RunConfig
    federation: Federation
    data: ServerData
    exchange: Exchange
    observer: Observer

    def run(self, state: ServerState) -> Trained:
        """The final model and each tier's part of it, with the ranges their devices saw."""
        last = state.round  # a part that moves from round to round stays where it was
        parts = self.federation.parts(state)
        asked = parts.with_every_kind(self.exchange.asked(Phase.CALIBRATE, self._after))
        results = self.exchange.ask(
            Phase.CALIBRATE,
            self._after,
            model_packets(self.federation, state, asked, last),
            lambda k, packet: RangesResult.read(parts.block(parts.given(k), last).graph, packet),
        )
        for tier, many in parts.missing({k: parts.tier(k) for k in asked}, results).items():
            self.observer.on_event(TierMissing(self._after, tier, many))
        tiers = grouped((k, parts.given(k)) for k in asked)
        reported = {
            tier: {k: results[k].ranges for k in who if k in results} for tier, who in tiers.items()
        }
        made = {
            tier: self._calibrated(state, tier, ranges)
            for tier, ranges in reported.items()
            if ranges or tier == parts.shared
        }
        return Trained(made[parts.shared], {} if parts.are_all_whole else made)

    @property
    def _after(self) -> int:
        return self.config.federation.rounds + 1

    def _calibrated(
        self, state: ServerState, tier: Tier, reported: Mapping[int, Ranges]
    ) -> TrainedModel:
        odd = implausible_ranges(reported, self.config.trust.update_factor)
        self.exchange.doubt(Phase.CALIBRATE, self._after, odd)
        ranges = merge_ranges(one for k, one in reported.items() if k not in odd)
        graph = self.federation.parts(state).block(tier, state.round).graph
        model = self.federation.model(state, tier, state.round)
        labels, sensor = self.data.labels, self.data.sensor
        return TrainedModel(graph, model, state.normalization, ranges, labels, sensor)
