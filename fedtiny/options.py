"""Options that several commands have, and how all of them print JSON."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fedtiny.option_types import MOST_CLASSES, FractionType, SampleShape, ShapeType

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Density = Annotated[
    float, typer.Option(click_type=FractionType(), help="nnz / prunable weights, in (0, 1].")
]
Input = Annotated[SampleShape, typer.Option("--input", click_type=ShapeType(), help="Of a sample.")]
Classes = Annotated[int, typer.Option(help="Of the model.", min=1, max=MOST_CLASSES)]

WATCH, GREY = SampleShape(6, 1, 128), SampleShape(1, 28, 28)
"""(C, H, W) of a smart-watch window and of a Fashion-MNIST image."""


def print_json(value: object) -> None:
    """For programs; what JSON does not know is written as text."""
    print(json.dumps(value, indent=1, default=str))
