"""PyTorch training at its best on a CPU: what sparse training has to beat."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fedtiny.sparse.tensor import Floats
from fedtiny.training.trainer import Labels, SgdConfig


class ModuleTrainer:
    """SGD on all of a module's parameters: channels-last (oneDNN), gradients freed between steps.

    Args:
        module: takes ``(N, C, H, W)``, gives logits ``(N, classes)``.
        sgd: optimizer settings.
        micro_batch: samples per forward and backward pass.
        layout: of the samples in memory.
        half: forward passes compute in bfloat16 where PyTorch's autocast has them do so.
    """

    def __init__(
        self,
        module: nn.Module,
        sgd: SgdConfig,
        micro_batch: int,
        layout: torch.memory_format = torch.channels_last,
        half: bool = False,
    ) -> None:
        self._micro_batch, self._layout, self._half = micro_batch, layout, half
        self._module = module.to(memory_format=layout).train()  # type: ignore[call-overload]
        self._optimizer = torch.optim.SGD(
            self._module.parameters(),
            lr=sgd.learning_rate,
            momentum=sgd.momentum,
            weight_decay=sgd.weight_decay,
        )

    def step(self, x: Floats, y: Labels) -> float:
        """One SGD step on a batch; returns its mean loss before the step."""
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for start in range(0, len(x), self._micro_batch):
            part = slice(start, start + self._micro_batch)
            images = torch.from_numpy(x[part]).contiguous(memory_format=self._layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
                logits = self._module(images)
            target = torch.from_numpy(y[part])
            loss = functional.cross_entropy(logits.float(), target, reduction="sum") / len(x)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self._optimizer.step()
        return total
