"""``python -m sims.study.codecs``: what each codec makes of Fashion-MNIST at how many bytes.

Pictures are taken from the front of both parts, so that all codecs and seeds see the same; seeds
are those of weights and order. Encoders are int8, as exported: every code is what the device's C
writes. Rows that docs/results/codecs.csv has are not measured again; then tables and pictures of
docs/results/codecs.md are rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from sims.code_version import code_version
from sims.study.codecs_formats import PROGRESSIVE_QUALITY, STILL, progressive, quality_name, still
from sims.study.codecs_learned import RATES, SALIENT, federated, pnc, rate_name, salient, vae
from sims.study.codecs_page import BEGIN, END, tables
from sims.study.codecs_plot import draw
from sims.study.codecs_rows import Row
from sims.study.codecs_shared import Measure

PAGE = Path("docs/results/codecs.md")


@dataclass(frozen=True, slots=True)
class Job:
    """What gives the rows of one codec's setting.

    Attributes:
        codec, setting, seed: of the rows, whose settings begin with it.
        measure: gives them.
    """

    codec: str
    setting: str
    seed: int
    measure: Measure


def jobs(seeds: int) -> list[Job]:
    """Every job; what claims rest on first, so that a study that is stopped has it."""
    found, quality = list[Job](), PROGRESSIVE_QUALITY
    for seed in range(seeds):
        found.append(Job("progressive_jpeg", f"quality {quality}", seed, progressive(quality)))
        found.append(Job("pnc", "tail-drop", seed, pnc("tail-drop")))
        found += [Job("jpeg", quality_name(*one), seed, still(*one)) for one in STILL[:2]]
        found += [Job("vae", rate_name(one), seed, vae(one)) for one in RATES[:2]]
    for seed in range(seeds):
        found.append(Job("pnc", "no tail-drop", seed, pnc("no tail-drop")))
    for seed in range(seeds):
        found.append(Job("jpeg", quality_name(*STILL[2]), seed, still(*STILL[2])))
        found.append(Job("vae", rate_name(RATES[2]), seed, vae(RATES[2])))
        found.append(Job("vae_public", rate_name(RATES[0]), seed, federated(RATES[0])))
    found += [Job("pnc", SALIENT, seed, salient()) for seed in range(seeds)]
    return found


cli = CommandLine()


@cli.command()
def study(
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n−1.", min=1, max=100)] = 3,
    first_seed: Annotated[int, typer.Option(help="Leave earlier ones out.", min=0)] = 0,
    codec: Annotated[list[str] | None, typer.Option(help="Only these; default: all.")] = None,
    page: Annotated[Path, typer.Option(help="File whose tables are rewritten.")] = PAGE,
) -> None:
    """Measure what the CSV lacks, then rewrite tables and pictures."""
    path, commit, screen = page.with_suffix(".csv"), code_version(), Screen(stderr=True)
    torch.set_num_threads(1)
    if not path.is_file():
        csv_rows.write(path, Row, [])
    for job in jobs(seeds):
        known = [row for row in csv_rows.read(path, Row) if row.seed == job.seed]
        if (codec and job.codec not in codec) or job.seed < first_seed:
            continue
        if any(row.codec == job.codec and row.belongs(job.setting) for row in known):
            continue
        for setting, payload, file, accuracy, sizes in job.measure(job.seed):
            row = Row(
                codec=job.codec,
                setting=setting,
                seed=job.seed,
                payload_bytes=round(payload, 2),
                file_bytes=round(file, 2),
                accuracy=round(accuracy, 4),
                encoder_parameters=sizes.parameters or None,
                encoder_flash_bytes=sizes.flash_bytes or None,
                arena_bytes=sizes.arena_bytes or None,
                commit=commit,
            )
            csv_rows.append(path, row)
            screen.say(f"{row.codec} {setting} seed {row.seed}: {payload:.1f} B {accuracy:.3f}")
    if codec:
        return  # parts may run beside each other; the whole command rewrites the page
    draw(path)
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_block(text, BEGIN, END, tables(path)), encoding="utf-8")


if __name__ == "__main__":
    cli()
