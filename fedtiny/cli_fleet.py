"""``fedtiny fleet``: what unequal devices hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.option_types import SecondsType
from fedtiny.options import WATCH, Classes, Density, Input, Json, print_json
from fedtiny.settings import MOST
from fedtiny.tiers.config import PolicyName

fleet = CommandLine(no_args_is_help=True, help="Unequal devices, and a clock for them.")


@fleet.command("show")
def fleet_show(
    path: Annotated[Path, typer.Argument(metavar="FLEET", help="A fleet's TOML file.")],
    model: Annotated[str, typer.Option(help="A registered model.")] = "smartwatch_cnn",
    input_shape: Input = WATCH,
    classes: Classes = 7,
    batch: Annotated[int, typer.Option(help="Samples per training step.", min=1, max=MOST)] = 64,
    density: Density = 0.05,
    samples: Annotated[int, typer.Option(help="Of each device.", min=1, max=MOST)] = 500,
    epochs: Annotated[int, typer.Option(help="Local passes per round.", min=1, max=MOST)] = 2,
    own: Annotated[str, typer.Option("--catalog", help="A file with boards of your own.")] = "",
    tiers: Annotated[
        PolicyName, typer.Option(help="Who trains which part of the model, as tiers.policy.")
    ] = PolicyName.NONE,
    deadline: Annotated[
        float,
        typer.Option(
            click_type=SecondsType(),
            help="Simulated seconds a round may take, as clock.deadline_s; 0: any.",
        ),
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """What each kind of device holds of a model, and its simulated seconds and bytes a round."""
    from fedtiny.doctor.fleet import Question, examine_fleet  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.fleet_modes import modes_of  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.fleet_tables import print_fleet  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.tables import print_modes  # noqa: PLC0415 - only this command pays for it; base installations lack some

    question = Question(
        model, input_shape, classes, batch, density, samples, epochs, own, tiers, deadline
    )
    kinds = examine_fleet(path, question)
    modes = modes_of(kinds, question)
    if as_json:
        print_json(
            [kind.to_json() | {"modes": [asdict(m) for m in modes[kind.group]]} for kind in kinds]
        )
    else:
        print_fleet(kinds, question)
        print_modes(modes)
    if all(kind.refused for kind in kinds):
        raise typer.Exit(1)
