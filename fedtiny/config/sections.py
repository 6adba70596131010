"""The sections of a run's config."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedtiny import models
from fedtiny.config.methods import Method, Traits, traits
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.pruning.schedule import Granularity, Order

Fraction = Annotated[float, Field(gt=0, le=1)]


class ConfigError(FedTinyError):
    """A config file or override is wrong; the message names the key and the fix."""


class Section(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Section):
    """Which architecture; input shape and classes come from the data.

    Attributes:
        name: a registered model; ``name@width`` for another width than its own, e.g.
            ``resnet8@12``.
        module: Python module to import first, for one that registers a model of your own; it
            must be importable wherever clients run.
    """

    name: str = "smartwatch_cnn"
    module: str = ""

    def build(self, input_shape: Shape, classes: int) -> Graph:
        """The layer graph.

        Raises:
            ConfigError: the module cannot be imported.
            FedTinyError: no such model; the message lists those there are.
        """
        self.register()
        return models.build(self.name, input_shape, classes)

    def register(self) -> None:
        """Import ``module``, if there is one; raises ConfigError if that fails."""
        if not self.module:
            return
        try:
            importlib.import_module(self.module)
        except ImportError as error:
            raise ConfigError(f"model.module = {self.module!r}: {error}") from error


class FederationConfig(Section):
    """The round loop.

    Attributes:
        rounds: federated rounds of local training.
        clients_per_round: partitions drawn anew each round; 0 takes all.
        max_failures: clients that may fail in one phase before the run stops.
        evaluate_every: rounds between federated evaluations; the last round is always evaluated.
        timeout_s: how long to wait for replies of one phase.
    """

    rounds: Annotated[int, Field(ge=1)] = 30
    clients_per_round: Annotated[int, Field(ge=0)] = 0
    max_failures: Annotated[int, Field(ge=0)] = 0
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    timeout_s: Annotated[float, Field(gt=0)] = 600.0


class TrainingConfig(Section):
    """Local SGD.

    Attributes:
        epochs: local passes per round.
        batch_size: samples per step; a tight memory budget splits it into micro-batches.
        learning_rate: of the first round; it falls to ``final_learning_rate`` along a cosine.
        final_learning_rate: of the last round.
        momentum, weight_decay: as in PyTorch's SGD.
        proximal_mu: μ of FedProx's term ½ μ ‖θ − θ_received‖², with any method; 0 for none.
        engine: ``sparse`` (compiled; holds non-zeros only), ``torch`` (masked dense), or ``auto``:
            sparse below the crossover density, where it is installed and no GPU is to be used.
        device: where ``torch`` computes: ``cpu``; ``cuda``; or ``auto``, CUDA where PyTorch sees
            it. With ``engine = "auto"`` CUDA means ``torch``, the only engine that can use it. The
            same bytes come out on the same kind of device only; memory is predicted and measured
            for the CPU on any.
    """

    engine: Literal["auto", "sparse", "torch"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    epochs: Annotated[int, Field(ge=1)] = 2
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    final_learning_rate: Annotated[float, Field(ge=0)] = 0.005
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    proximal_mu: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _engine_fits_device(self) -> Self:
        if self.engine == "sparse" and self.device == "cuda":
            raise ValueError(
                "engine = 'sparse' computes on the CPU: set device = 'cpu', or engine = 'torch'"
            )
        return self


class PretrainingConfig(Section):
    """Server training on the public samples before anything is pruned; 0 epochs skips it.

    Without it magnitudes mean nothing: the candidates are then pruned by random scores, and the
    report says so.
    """

    epochs: Annotated[int, Field(ge=0)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.05


class PruningConfig(Section):
    """How the model becomes sparse.

    Attributes:
        method: ``fedtiny``; ``dense`` or ``narrow`` for federated averaging of the whole model
            or of a narrower one of equal bytes; the fixed masks ``random``, ``magnitude``,
            ``erk``, ``snip``, ``synflow``, ``ssfl``; or ``prunefl``, ``feddst``, ``fedmef``,
            ``fedrts``.
        density: nnz / prunable weights.
        candidates: size C of the candidate pool.
        selection: ``adaptive`` re-estimates batch norm per candidate (ABNS), ``vanilla`` does
            not, ``none`` takes the uniform candidate.
        bn_pooling: how devices' batch-norm statistics are merged.
        interval: rounds between adjustments (ΔR).
        stop: last round that may adjust (R_stop); 0 for half of the rounds.
        fraction: scale of the cosine quota, 0.15 in the paper.
        granularity, order: what one adjustment of ``fedtiny`` covers, and from which end; other
            methods adjust the entire model.
        extrusion: λ of FedMef's penalty on the weights about to go.
        activation_density: part of the saved activations that FedMef's devices keep for the
            backward pass; 1 for all. The default is that of its authors' library.
    """

    method: Method = "fedtiny"
    density: Fraction = 0.05
    candidates: Annotated[int, Field(ge=1)] = 8
    selection: Literal["adaptive", "vanilla", "none"] = "adaptive"
    bn_pooling: BnPooling = BnPooling.POOLED
    interval: Annotated[int, Field(ge=1)] = 2
    stop: Annotated[int, Field(ge=0)] = 0
    fraction: Fraction = 0.15
    granularity: Granularity = Granularity.LAYER
    order: Order = Order.BACKWARD
    extrusion: Annotated[float, Field(ge=0)] = 1e-4
    activation_density: Fraction = 0.5

    @property
    def traits(self) -> Traits:
        """What the method asks of devices."""
        return traits(self.method)

    @property
    def saved_density(self) -> float:
        """Part of the saved activations that devices keep: all of them but for FedMef."""
        return self.activation_density if self.method == "fedmef" else 1.0


class DevicesConfig(Section):
    """Which board holds which partition.

    Attributes:
        fleet: catalogue names; partition k is held by ``fleet[k % len(fleet)]``. Empty: no
            budgets.
        budget_bytes: by partition, a training budget that replaces the board's own.
    """

    fleet: tuple[str, ...] = ()
    budget_bytes: Mapping[int, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)

    def board(self, partition: int) -> str:
        """Catalogue name of the board that holds ``partition``; empty without a fleet."""
        return self.fleet[partition % len(self.fleet)] if self.fleet else ""


class ExportConfig(Section):
    """The last step: int8, C, and the check on this host.

    Attributes:
        enabled: quantize and write ``firmware/``.
        check: build it with the host's compiler and compare every test sample.
    """

    enabled: bool = True
    check: bool = True
