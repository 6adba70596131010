"""Whatever a name is, a line, a table or a progress bar shows it as it is written."""

import io
from collections.abc import Callable
from types import SimpleNamespace as Any

import pytest
from hypothesis import given, settings
from rich.progress import Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text
from test_free_text_in_plots import HOSTILE, names

from fedtiny.bench.firmware_text import print_firmware
from fedtiny.bench.text import print_train
from fedtiny.doctor.modes import Mode, Verdict
from fedtiny.doctor.tables import print_boards, print_environment
from fedtiny.escaping.terminal import Screen, terminal_text, visible
from fedtiny.export import tables
from sims.progress import ProgressObserver
from sims.study.sweep import _Report

NAMES = [*HOSTILE, ":smile:", "[/]", "[bold]x[/bold]", "[link=a]b[/link]", "\\[red]", "1.5 True"]
ESCAPES = ["\x1b[31mred", "bell\a", "\x9b2J", "\udce9", "a\tb\rc"]


def shown(show: Callable[[Screen], object]) -> str:
    file = io.StringIO()
    show(Screen(file=file))
    return file.getvalue()


@given(names)
@settings(deadline=None, max_examples=60)
def test_lines_cells_heads_and_titles(text: str) -> None:
    assert shown(lambda s: s.print(text)) == f"{text}\n"
    assert shown(lambda s: s.say(text)) == f"{text}\n"
    assert shown(lambda s: s.say(terminal_text("note: ", "red") + terminal_text(text))) == (
        f"note: {text}\n"
    )
    wide = f"a{text}z"  # blanks at the ends of a title go, and characters without width need one
    table = Table(wide, Column(wide, no_wrap=True), title=wide, caption=wide)
    table.add_row(wide, wide)
    assert shown(lambda s: s.print(table)).count(wide) >= 6


@pytest.mark.parametrize("text", ESCAPES)
def test_nothing_is_obeyed(text: str) -> None:
    table = Table(text)
    table.add_row(text)
    for one in text, table:
        found = shown(lambda s, one=one: s.print(one))
        assert visible(text) in found
        assert not set(text) & set("\x1b\a\x9b\udce9\t\r") & set(found)


def test_a_narrow_terminal_folds_what_people_named() -> None:
    file = io.StringIO()
    table = Table(Column("name", overflow="fold"))
    table.add_row("n" * 60)
    Screen(file=file, width=30).print(table)
    assert file.getvalue().count("n") == 60 + 1


def layer(text: str) -> Any:
    counts = {"ours": 1, "cmsis_nn": 1, "own_dense": 1, "dense": 1}
    return Any(
        name=text, kernel=text, format=text, map=text, density=0.5, flash_bytes=counts,
        scratch_bytes=1, live_bytes=1, instructions=counts, cycles=counts,
    )  # fmt: skip


def fit(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Any(**{**vars(layer(text)), "flash_bytes": 1, "instructions": 1})
    monkeypatch.setattr(tables, "layer_reports", lambda plan: [one])
    plan = Any(flash_bytes=1, arena=Any(nbytes=1), instructions=1)
    target = Any(name=text, core="m4")
    tables.print_fit(
        Any(plan=plan, target=target, flash_left_bytes=1, ram_left_bytes=1, problems=[text])
    )


def targets(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.print_targets({text: Any(vectors=1, mismatches=0)})


def environment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    print_environment([Any(name=text, ok=False, detail=text, fix=text)])


def boards(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Any(
        possible=True, micro_batch=1, prediction=None, budget_bytes=1, recompute=[text], reason=text
    )
    run = Any(possible=False, flash_bytes=1, arena_bytes=1, reason=text)
    adapt = Verdict(Mode.ADAPT, False, {}, 0, "", text)
    print_boards((Any(profile=Any(name=text), training=training, run=run, modes=[adapt]),))


def train(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Any(name=text, graph=Any(input_shape=(1,)), sparse=Any(density=0.5), batch=1, threads=1)
    print_train(
        Any(
            work=work, ms={"dense": 1.0}, peak_bytes={"dense": 1}, roofline_share={"dense": 0.5},
            repeats=1, peak=Any(flops_per_s=1, source=text), recompute=[text], busy=True,
        )
    )  # fmt: skip


def firmware(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"ours": 1, "dense": 1}
    total = Any(
        instructions=counts, ratio=1.0, flash_bytes=counts, flash_ratio=1.0, scratch_bytes=1,
        mismatches=0, cycles=counts, cycle_ratio=1.0,
    )  # fmt: skip
    print_firmware(
        Any(
            model=text, input="1x2", density=0.5, core="m4", layers=[layer(text)], total=total,
            peer=text, cmsis_nn=text, timing=text,
        )
    )  # fmt: skip


@pytest.mark.parametrize("show", [fit, targets, environment, boards, train, firmware])
def test_every_table_gives_back_the_names(
    show: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    for text in NAMES:
        show(text, monkeypatch)
        assert text in capsys.readouterr().out


@pytest.mark.parametrize("text", NAMES)
def test_progress_gives_back_the_titles(text: str) -> None:
    file = io.StringIO()
    screen = Screen(file=file)
    bar: Progress = ProgressObserver(screen, text)._progress
    columns = [one for one in bar.columns if isinstance(one, TextColumn)]
    assert text in [str(one.render(bar.tasks[0])) for one in columns]
    report = _Report(1, screen)
    report.line(Text(text))
    assert text in file.getvalue()
