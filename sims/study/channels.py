"""``python -m sims.study.channels RUN ...``: output channels that masks left without a weight."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sparse.tensor import Mask

cli = CommandLine()


@dataclass(frozen=True, slots=True)
class EmptyChannels:
    """Of one run's model.

    Attributes:
        run: the folder's name.
        empty: output channels of prunable layers that no weight leads to, by layer.
        channels: output channels of those layers, all together.
    """

    run: str
    empty: dict[str, int]
    channels: int

    @property
    def share(self) -> float:
        """Of all channels, in [0, 1]."""
        return sum(self.empty.values()) / self.channels


def empty_channels(mask: Mask) -> int:
    """Output channels (axis 0 of a weight, (out, in, kh, kw) or (out, in)) without a weight.

    >>> empty_channels(Mask((3, 2), np.array([0, 1, 4], np.int32)))
    1
    """
    return mask.shape[0] - len(np.unique(mask.indices // prod(mask.shape[1:])))


def measure(path: Path) -> EmptyChannels:
    """The channels of the run in folder ``path``; FedTinyError if it has no model."""
    masks = TrainedModel.load(RunFolder(path).model).model.masks
    channels = sum(mask.shape[0] for mask in masks.values())
    return EmptyChannels(path.name, {n: empty_channels(m) for n, m in masks.items()}, channels)


@cli.command()
def channels(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Count the output channels that are dead: under a mask that stays nothing revives them."""
    found = [measure(path) for path in runs]
    if as_json:
        print(json.dumps([asdict(one) | {"share": round(one.share, 4)} for one in found], indent=1))
        return
    table = Table("run", "empty", "of", "share")
    for one in found:
        empty = sum(one.empty.values())
        table.add_row(one.run, str(empty), str(one.channels), f"{one.share:.0%}")
    Screen().print(table)


if __name__ == "__main__":
    cli()
