"""Before round 1 of ``tiers.policy = "shapes"``: the server trains shapes, devices compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedtiny.config import RunConfig
from fedtiny.data.samples import Samples
from fedtiny.federation.contest import Contender, Training
from fedtiny.models.graph import Graph
from fedtiny.pruning.paired import compare
from fedtiny.runs.contest_events import ShapeCompared
from fedtiny.sparse.tensor import Floats
from fedtiny.tiers.block import block_of
from fedtiny.tiers.tier import Tier
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask
from fedtiny.wire.packet import Packet
from strategies.observer import Observer

AskAll = Callable[[Tier, Packet], Mapping[int, CandidateLosses]]
"""Ask every device what one part of the model loses on its development samples; by partition."""


@dataclass(frozen=True)
class Contest:
    """Of one run.

    Attributes:
        config: of the run.
        graph: the model.
        observer: is told how every shape did.
        ask: the devices.
    """

    config: RunConfig
    graph: Graph
    observer: Observer
    ask: AskAll

    def winner(
        self, tiers: list[Tier], public: Samples, initial: Mapping[str, Floats] | None
    ) -> Contender:
        """The shape that all are to train.

        Args:
            tiers: widest first, at least one.
            public: the server's samples, normalised.
            initial: dense parameters and statistics of the whole model by name to begin with;
                None: random ones.
        """
        contenders = [self._train(tier, public, initial) for tier in tiers]
        replies = [self.ask(one.tier, self._packet(one, public)) for one in contenders]
        found = compare(replies, "set a tiers.policy other than 'shapes'")
        chosen = max(found.as_good)
        for k, one in enumerate(contenders):
            self.observer.on_event(
                ShapeCompared(
                    0,
                    one.tier,
                    one.model.nnz,
                    found.losses[k],
                    found.excesses[k],
                    found.errors[k],
                    len(replies[k]),
                    k == chosen,
                )
            )
        return contenders[chosen]

    def _train(
        self, tier: Tier, public: Samples, initial: Mapping[str, Floats] | None
    ) -> Contender:
        training, config = self.config.training, self.config
        how = Training(
            config.pretraining,
            config.tiers.contest_epochs,
            training.momentum,
            training.weight_decay,
            config.seed,
        )
        block = block_of(self.graph, tier.width)
        return how.contender(tier, block, config.method.density, public, initial)

    def _packet(self, one: Contender, public: Samples) -> Packet:
        task = CandidatesTask(one.pool, one.model.dense, public.normalization, None)
        return task.packet(one.block.graph)
