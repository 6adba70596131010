"""``python -m sims.study.results``: the runs behind docs/results/results.md, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedtiny import config as run_config
from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.report.blocks import replace_block
from fedtiny.runs.folder import RunFolder
from fedtiny.settings import MOST
from sims.backends import Backend
from sims.pipeline import Pipeline, preflight

CONFIGS = (Path("sims/configs/demo.toml"), Path("sims/configs/fashion_mnist.toml"))
PAGE = Path("docs/results/results.md")
BEGIN, END = "<!-- results: made by `make results` -->", "<!-- /results -->"

cli = CommandLine()


@cli.command()
def results(
    config: Annotated[list[Path] | None, typer.Option(help="Configs; default: both.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n−1 of each.", min=1, max=MOST)] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/results"),
    page: Annotated[Path, typer.Option(help="File whose table is rewritten.")] = PAGE,
    backend: Annotated[Backend, typer.Option(help="Where clients run.")] = Backend.RAY,
) -> None:
    """Run every config with every seed (finished runs are kept), then rewrite the table."""
    from fedtiny.report import results_markdown  # noqa: PLC0415 - pandas is slow to import

    console = Screen(stderr=True)
    groups = [
        [_finished(path, seed, out, backend, console) for seed in range(seeds)]
        for path in config or CONFIGS
    ]
    table = results_markdown(groups)
    page.write_text(
        replace_block(page.read_text(encoding="utf-8"), BEGIN, END, table), encoding="utf-8"
    )
    print(table)


def _finished(path: Path, seed: int, out: Path, backend: Backend, console: Screen) -> RunFolder:
    settings = run_config.load(path, [f"seed={seed}"])
    folder = RunFolder(out / f"{settings.name}-{seed}")
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.held("make results"):
        if not (folder.path / "report.json").is_file():
            preflight(settings, folder.path, rehearsed=True)
            Pipeline(settings, folder, backend, console).run(resume=folder.config.is_file())
    return folder


if __name__ == "__main__":
    cli()
