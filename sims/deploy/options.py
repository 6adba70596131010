"""What the commands of ``python -m sims.deploy`` share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.escaping.terminal import Screen
from fedtiny.node.manifest import load_certificate
from sims.deploy.authority import WARN_DAYS, days_left
from sims.deploy.home import Home

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The deployment's folder.")]
Name = Annotated[str, typer.Argument(metavar="NODE", help="A node's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeat.")]


def open_home(path: Path) -> Home:
    """The deployment in ``path``, with a warning of what expires soon.

    Raises:
        DeployError: it is none.
    """
    home = Home(path)
    home.settings()
    for what, file in (("authority", home.ca_certificate), ("server", home.server_certificate)):
        left = days_left(load_certificate(file))
        if left < WARN_DAYS:
            say = f"expires in {left} days" if left >= 0 else f"expired {-left} days ago"
            tell(f"warning: the {what}'s certificate {say}")
    return home


def tell(line: str) -> None:
    """Print progress or a warning, where it does not mix with results."""
    Screen(stderr=True).say(line)


def print_json(value: object) -> None:
    """The one object that a command prints with ``--json``."""
    print(json.dumps(value, indent=1))
