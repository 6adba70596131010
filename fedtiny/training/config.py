"""The settings of local training and of pre-training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedtiny.settings import MOST, Count, CountOrNone, Section


class TrainingConfig(Section):
    """Local SGD.

    Attributes:
        epochs: local passes per round.
        batch_size: samples per step; a tight memory budget splits it into micro-batches.
        learning_rate: of the first round; it falls to ``final_learning_rate`` along a cosine.
        final_learning_rate: of the last round.
        momentum, weight_decay: as in PyTorch's SGD.
        activation_bits: 32, or 16: convolutions are trained in bfloat16, with about half of the
            memory (:mod:`fedtiny.engine.narrow`, docs/results/training.md); with the sparse engine
            only.
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
    epochs: Count = 2
    batch_size: Count = 64
    learning_rate: Annotated[float, Field(gt=0, le=MOST)] = 0.05
    final_learning_rate: Annotated[float, Field(ge=0, le=MOST)] = 0.005
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=MOST)] = 5e-4
    activation_bits: Literal[16, 32] = 32
    proximal_mu: Annotated[float, Field(ge=0, le=MOST)] = 0.0

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

    epochs: CountOrNone = 20
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0, le=MOST)] = 0.05
