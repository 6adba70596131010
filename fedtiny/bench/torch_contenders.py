"""The ways to train a workload with all of its weights in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from fedtiny.bench.contenders import Contender
from fedtiny.bench.module_trainer import ModuleTrainer
from fedtiny.bench.no_peer import NoPeerError
from fedtiny.bench.workload import Workload
from fedtiny.models.torch_module import GraphModule
from fedtiny.training.masked.meter import measure_peak_bytes


def dense(work: Workload) -> Contender:
    """Channels-last: what the other figures are compared with."""
    return trained(work, lambda: _module(work), work.flops())


def compiled(work: Workload) -> Contender:
    """By ``torch.compile``: what follows a convolution is one loop."""

    def make() -> nn.Module:
        torch.compiler.reset()
        module = torch.compile(_module(work), fullgraph=True, dynamic=False)
        assert isinstance(module, nn.Module)
        return module

    return trained(work, make, work.flops())


def bfloat16(work: Workload) -> Contender:
    """Products and what is kept for the backward pass in bfloat16, weights in float32.

    Raises:
        NoPeerError: this processor cannot multiply such numbers; PyTorch then takes ten times as
            long as in float32.
    """
    if not has_bfloat16():
        raise NoPeerError("this processor has no arithmetic in bfloat16")
    return trained(work, lambda: _module(work), work.flops(), half=True)


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies numbers in bfloat16."""
    words = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)


def trained(
    work: Workload,
    module: Callable[[], nn.Module],
    flops: int,
    layout: torch.memory_format = torch.channels_last,
    half: bool = False,
) -> Contender:
    """A module as a contender.

    Args:
        work: what to do.
        module: makes it, with the workload's first weights.
        flops: that a step of it executes.
        layout, half: see :class:`ModuleTrainer`.
    """

    def make() -> ModuleTrainer:
        torch.set_num_threads(work.threads)
        return ModuleTrainer(module(), work.sgd, work.micro_batch, layout, half)

    def measure() -> int:
        x, y = work.x[: work.batch], work.y[: work.batch]

        def two_steps() -> None:  # momentum appears at the end of the first
            trainer = make()
            trainer.step(x, y)
            trainer.step(x, y)

        return measure_peak_bytes(two_steps, x.nbytes + y.nbytes)

    return Contender(make, measure, flops)


def _module(work: Workload) -> GraphModule:
    module = GraphModule(work.graph)
    module.load(work.sparse.to_dense())
    return module
