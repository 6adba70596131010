"""The sections of a run's config that no room of the library owns."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fedtiny.config.adapt import AdaptUse
from fedtiny.escaping.c_prefix import PrefixError, check_prefix
from fedtiny.fleet.group import Group, seats
from fedtiny.settings import MOST, Count, CountOrNone, Section


class FederationConfig(Section):
    """The round loop.

    Attributes:
        rounds: federated rounds of local training.
        clients_per_round: partitions drawn anew each round; 0 takes all.
        over_selection: share of ``clients_per_round`` that is asked beyond them; a round is over
            when ``clients_per_round`` have answered. Who is fast then decides the result: for real
            devices, and for simulations with a ``[clock]``.
        max_failures: clients that may fail or be away in one phase before the run stops; in an
            evaluation all may.
        min_clients: in place of ``max_failures``: the run begins when so many are connected and
            goes on while so many answer. 0: all but ``max_failures``.
        evaluate_every: rounds between federated evaluations; the last round is always evaluated.
        timeout_s: how long to wait for replies of one phase.
        describe_clients: clients drawn before round 1 to describe themselves and to answer
            whatever the method asks then; 0: all. Any other describes itself before its first task.
        evaluate_clients: clients drawn anew for every evaluation; 0: all.
        calibrate_clients: clients drawn after the last round to report ranges; 0: all.
        adapt: what devices learn of their own data after the last round, see ``[adapt]``.
        adapt_clients: clients that do; 0: all.
        encode: whether those that can train no part of the model (``[tiers]``), and whose board
            says ``raw_data_may_leave``, send their test pictures encoded after the last round; a
            codec is trained for that on the server's public pictures.
    """

    rounds: Count = 30
    clients_per_round: CountOrNone = 0
    over_selection: Annotated[float, Field(ge=0, le=10)] = 0.0
    max_failures: CountOrNone = 0
    min_clients: CountOrNone = 0
    evaluate_every: Count = 1
    timeout_s: Annotated[float, Field(gt=0, le=MOST)] = 600.0
    describe_clients: CountOrNone = 0
    evaluate_clients: CountOrNone = 0
    calibrate_clients: CountOrNone = 0
    adapt: AdaptUse = AdaptUse.OFF
    adapt_clients: CountOrNone = 0
    encode: bool = False

    def tolerated(self, partitions: int) -> int:
        """How many of the clients may fail or be away."""
        return partitions - self.min_clients if self.min_clients else self.max_failures

    @property
    def drawn(self) -> int:
        """Clients that are asked to train in a round; 0 for all."""
        return ceil(self.clients_per_round * (1 + self.over_selection))

    @property
    def enough(self) -> int | None:
        """Replies that end a round of training early; None: all are waited for."""
        return self.clients_per_round if self.over_selection and self.clients_per_round else None


class StoppingConfig(Section):
    """When a run ends before ``federation.rounds``; schedules are still made for all of them.

    What counts is the devices' mean training loss: accuracies are of test samples, and a run that
    stops by them reports its own choice. Rounds in which masks may still change do not count.

    Attributes:
        patience: rounds without a new lowest loss, after which the run ends; 0: never.
        min_delta: nats by which a loss has to be lower to be new.
    """

    patience: CountOrNone = 0
    min_delta: Annotated[float, Field(ge=0, le=MOST)] = 0.0


class DevicesConfig(Section):
    """Which board holds which partition.

    Attributes:
        fleet: catalogue names; partition k is held by ``fleet[k % len(fleet)]``. Empty: no
            budgets, unless there are groups. A config's file may name a fleet's file instead,
            relative to its own folder, which becomes ``groups`` when it is loaded.
        groups: of a fleet's file (:mod:`fedtiny.fleet.file`): boards, links, availability.
        budget_bytes: by partition, a training budget that replaces the board's own.
        catalog: a file with boards of your own, of the form of ``fedtiny/devices/catalog.toml``;
            it must be readable wherever clients run.
    """

    fleet: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    budget_bytes: Mapping[int, Annotated[int, Field(gt=0, lt=2**63)]] = Field(default_factory=dict)
    catalog: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fleet and self.groups:
            raise ValueError("fleet and groups: give boards or a fleet's file, not both")
        seats(self.groups)
        return self

    @property
    def size(self) -> int | None:
        """Devices of the groups; None without groups: a list of boards is dealt in turn."""
        return len(seats(self.groups)) if self.groups else None

    def group(self, partition: int) -> Group | None:
        """The group whose device holds ``partition``; None without groups."""
        return seats(self.groups)[partition].group if self.groups else None

    def board(self, partition: int) -> str:
        """Catalogue name of the board that holds ``partition``; empty without a fleet."""
        if self.groups:
            return seats(self.groups)[partition].group.device
        return self.fleet[partition % len(self.fleet)] if self.fleet else ""


class ExportConfig(Section):
    """The last step: int8, C, and the check on this host.

    Attributes:
        enabled: quantize and write ``firmware/``.
        check: build it with the host's compiler and compare every test sample.
        prefix: of the model's names in C, for several models in one program; empty: made from the
            run's name.
        weight_bits: 8, or 4 for the layers that are sparse: less flash, and perhaps less accuracy.
    """

    enabled: bool = True
    check: bool = True
    prefix: str = ""
    weight_bits: Literal[4, 8] = 8

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        try:
            return check_prefix(value) if value else value
        except PrefixError as error:
            raise ValueError(str(error)) from error
