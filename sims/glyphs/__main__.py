"""``python -m sims.glyphs fetch``, ``make``, ``sheet``: letters of many families as a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.data.npz import read_npz
from fedtiny.data.npz_file import npz_bytes
from fedtiny.escaping.terminal import Screen
from fedtiny.runs import atomic
from sims.glyphs.clients import find_clients
from sims.glyphs.fetch import fetch as fetch_fonts
from sims.glyphs.packages import catalog
from sims.glyphs.record import Table, licences, table
from sims.glyphs.samples import render
from sims.glyphs.sheet import contact_sheet

Fonts = Annotated[Path, typer.Option(help="Folder of fonts, in it one for each package.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]

FONTS, NPZ = Path("build/fonts"), Path("build/glyphs.npz")

cli = CommandLine(help="Letters of many font families as a data set.", no_args_is_help=True)


@cli.command()
def fetch(fonts: Fonts = FONTS, as_json: AsJson = False) -> None:
    """Get freely licensed fonts out of Debian's packages; goes on where it was interrupted."""
    screen, packages = Screen(stderr=True), catalog().packages
    unknown = fetch_fonts(fonts, packages, screen)
    if as_json:
        print(json.dumps({"fonts": str(fonts), "unknown": unknown}))
        return
    screen.say(f"{len(packages) - len(unknown)} packages of fonts in {fonts}")
    if unknown:
        screen.say(f"{len(unknown)} that this release of Debian lacks: {', '.join(unknown)}")


@cli.command()
def make(
    fonts: Fonts = FONTS,
    out: Annotated[Path, typer.Option(help="The .npz to write; a .json goes beside it.")] = NPZ,
    families: Annotated[int, typer.Option(min=2, max=10_000, help="Clients.")] = 220,
    seed: Annotated[int, typer.Option(help="Of the jitter and the order of clients.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Render the capitals of families that differ; same fonts and seed: the same bytes."""
    screen = Screen(stderr=True)
    clients = find_clients(fonts, catalog(), families, seed, screen)
    npz = npz_bytes(render(clients.families, seed, screen))
    record = table(clients, fonts, seed, npz)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    atomic.write(out, npz)
    atomic.write(out.with_suffix(".json"), text)
    if as_json:
        print(text, end="")
    else:
        _say(record, out, len(npz), screen)


def _say(record: Table, out: Path, size: int, screen: Screen) -> None:
    rows, left = record["families"], [one["reason"] for one in record["left_out"]]
    samples = sum(row["samples"] for row in rows)
    lacking = sum(reason.startswith("lacks ") for reason in left)
    alike = sum(reason.startswith("looks like ") for reason in left)
    screen.say(f"{out}: {samples:,} samples of {len(rows)} families, {size / 1e6:.0f} MB")
    screen.say(
        f"left out: {lacking} font files that lack letters, {alike} families that look like "
        f"another, {len(left) - lacking - alike} for other reasons; "
        f"{out.with_suffix('.json')} names each"
    )
    for licence, count in licences(rows).items():
        screen.say(f"{count:4d} families under {licence}")


@cli.command()
def sheet(
    npz: Annotated[Path, typer.Argument(help="What make wrote.")] = NPZ,
    out: Annotated[Path | None, typer.Option(help="The PNG; default: beside the file.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=100, help="Families.")] = 24,
) -> None:
    """Draw some families' letters as they are in the file."""
    data, _, _ = read_npz(npz)
    path = out or npz.with_suffix(".png")
    atomic.write(path, contact_sheet(data, rows))
    Screen(stderr=True).say(str(path))


if __name__ == "__main__":
    cli()
