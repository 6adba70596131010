"""The tables of docs/results/codecs.md, from its CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

BEGIN, END = "<!-- codecs: made by `make study-codecs` -->", "<!-- /codecs -->"

BITS = ": bits by "
DEADLINE = r" ms, \w+ interference$"
"""What settings have that are no codec's own accuracy at some bytes."""


def tables(csv: Path) -> str:
    """Accuracy by budget, by setting of the codecs without budgets, and sizes of encoders."""
    rows = pd.read_csv(csv)
    bits = rows["setting"].str.contains(BITS)
    timed = rows["setting"].str.contains(DEADLINE)
    cuts = rows["setting"].str.contains(" @ ") & ~timed
    parts = [
        "Accuracy in %, mean ± standard deviation over seeds. *Payload*: bytes that depend on the "
        "picture; headers and tables that both ends can hold beforehand are left out for all. "
        "*File*: a picture file as it stands, or for our codes the blocks of the radio, flags and "
        "checksums included. Bytes are means per picture.",
        _by_budget(rows[cuts]),
        _by_setting(rows[~bits & ~cuts & ~timed]),
        "Sent over a radio of 8 to 40 kbit/s (`sims/fleets/low_rate.csv`) until a deadline, in "
        "blocks of at most 64 bytes, a lost one again at once; light interference loses one block "
        "in ten, heavy four. A block that would be late ends the code where the time does. Rates "
        "and losses are assumed, time is simulated.",
        _by_deadline(rows[timed]),
        _coded(rows[rows["codec"] == "vae"]),
        _encoders(rows),
    ]
    return "\n\n".join(parts)


def _by_budget(rows: pd.DataFrame) -> str:
    split = rows["setting"].str.rsplit(" @ ", n=1, expand=True)
    rows = rows.assign(name=rows["codec"] + ": " + split[0], budget=split[1])
    names = list(dict.fromkeys(rows["name"]))
    lines = [f"| payload at most | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for budget in dict.fromkeys(rows["budget"]):
        cells = [
            _accuracy(rows[(rows["name"] == name) & (rows["budget"] == budget)]) for name in names
        ]
        lines.append(f"| {budget} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _counted(rows, "name")])


def _by_deadline(rows: pd.DataFrame) -> str:
    rows = _timed(rows)
    names, kinds = (list(dict.fromkeys(rows[column])) for column in ("name", "interference"))
    titles = " | ".join(f"{name}, {kind}" for name in names for kind in kinds)
    lines = [f"| deadline | {titles} |", f"|---|{'---:|' * (len(names) * len(kinds))}"]
    for deadline, mine in rows.groupby("deadline"):
        cells = [
            _accuracy(mine[(mine["name"] == name) & (mine["interference"] == kind)])
            for name in names
            for kind in kinds
        ]
        lines.append(f"| {deadline} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def _timed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with deadlines, told apart; of an ablation, and of readers that are behind, none."""
    parts = rows["setting"].str.extract(r"^(.*) @ (\d+) ms, (\w+) interference$")
    rows = rows.assign(
        name=rows["codec"] + ": " + parts[0],
        deadline=parts[1].astype(int),
        interference=parts[2],
    )
    return rows[~rows["name"].str.contains("no tail-drop")]


def _by_setting(rows: pd.DataFrame) -> str:
    lines = [
        "| codec | setting | payload | file | accuracy | seeds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    found = rows.groupby(["codec", "setting"])
    for (codec, setting), mine in sorted(found, key=lambda one: one[1]["payload_bytes"].mean()):
        payload, file = mine["payload_bytes"].mean(), mine["file_bytes"].mean()
        sizes = f"{payload:.1f} B | {file:.1f} B"
        lines.append(f"| {codec} | {setting} | {sizes} | {_accuracy(mine)} | {len(mine)} |")
    return "\n".join(lines)


def _coded(rows: pd.DataFrame) -> str:
    """What codes take, beside what tables and context model say."""
    split = rows["setting"].str.split(BITS, n=1, expand=True).reindex(columns=[0, 1])
    rows = rows.assign(rate=split[0], by=split[1].fillna("coded"))
    means = rows.pivot_table(values="payload_bytes", index="rate", columns="by", sort=False)
    lines = [
        "| VAE | coded | bits by static tables | bits by context model |",
        "|---|---:|---:|---:|",
    ]
    for rate, mine in means.iterrows():
        found = (mine["coded"], mine["static tables"], mine["context model"])
        lines.append(f"| {rate} | {' | '.join(f'{size:.2f} B' for size in found)} |")
    return "\n".join(lines)


def _encoders(rows: pd.DataFrame) -> str:
    lines = [
        "| encoder | parameters | flash: weights and tables | arena |",
        "|---|---:|---:|---:|",
    ]
    made = rows.dropna(subset=["encoder_parameters"])
    names = made["codec"] + ", " + made["setting"].str.split(" @ ").str[0]
    for name, mine in made.groupby(names, sort=False):
        columns = ("encoder_parameters", "encoder_flash_bytes", "arena_bytes")
        parameters, flash, arena = (f"{int(mine[column].max()):,}" for column in columns)
        lines.append(f"| {name} | {parameters} | {flash} B | {arena} B |")
    return "\n".join(lines)


def _accuracy(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    found = 100 * rows["accuracy"]
    spread = f" ± {found.std():.1f}" if len(found) > 1 else ""  # one seed says nothing of it
    return f"{found.mean():.1f}{spread}"


def _counted(rows: pd.DataFrame, by: str) -> str:
    seeds = rows.groupby(by, sort=False)["seed"].nunique()
    return "Seeds: " + ", ".join(f"{name} {number}" for name, number in seeds.items()) + "."
