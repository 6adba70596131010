"""A study: its grid, its pool, its rows, and the study page's tables against the committed CSV."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from builders import sparse_model, unnormalized
from matplotlib.backends.backend_agg import FigureCanvasAgg
from typer.testing import CliRunner

from fedtiny.config import parse
from fedtiny.data.dataset import SensorSpec
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.memory.step import StepPlan
from fedtiny.methods import METHODS
from fedtiny.models import build
from fedtiny.report import rows as csv_rows
from fedtiny.report import study, study_markdown, study_report, study_tables, tuning
from fedtiny.report.blocks import replace_block
from fedtiny.report.plots.study import pareto_front, study_charts
from fedtiny.report.plots.style import style
from fedtiny.report.rows import RowError
from fedtiny.report.study import StudyRow
from fedtiny.runs.event_parts import Group, Traffic
from fedtiny.runs.events import (
    DeviceDescribed,
    Evaluated,
    Exchanged,
    Metered,
    ModelPrepared,
    RoundFinished,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import MetricsWriter
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.settings import ConfigError
from fedtiny.wire.phase import Phase
from sims.study import plan as sweep_plan
from sims.study.plan import Job
from sims.study.plot import BEGIN, END, plot
from sims.study.sweep import cli, run_all

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "sims/configs"
COMMITTED, TRIALS = ROOT / "results/study.csv", ROOT / "results/tuning.csv"

SWEEP = """
dataset = "watch"
base = "base.toml"
csv = "study.csv"
accuracy = "same_people"
seeds = [0, 1]
densities = [0.1, 0.05]
settings = ["export.enabled=false"]
[methods]
fedtiny = []
dense = ["pruning.method=dense"]
slow = ["training.learning_rate=0.001", "pruning.order=forward"]
"""


def row(method: str = "fedtiny", density: float = 0.01, seed: int = 0, accuracy: float = 0.5):
    return StudyRow("watch", method, density, seed, accuracy, 1000, 2000, 3000, 40, 32, "abc", "")


def grid(tmp_path: Path, text: str = SWEEP) -> list[Job]:
    (tmp_path / "base.toml").write_text("", encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    return sweep_plan.jobs(sweep_plan.load(tmp_path / "sweep.toml"), tmp_path)


def many() -> list[StudyRow]:
    """Two datasets, all methods of the smart-watch study, three seeds."""
    draw = random.Random(0)
    names = sweep_plan.load(CONFIGS / "study.toml").methods
    rows = [
        replace(row(name, density, seed, draw.random()), dataset=dataset)
        for dataset in ("watch", "Fashion-MNIST")
        for name in names
        for density in ((1.0,) if name == "dense" else (0.1, 0.01, 0.005))
        for seed in range(3)
    ]
    return [replace(one, uplink_bytes=draw.randrange(10**5, 10**7)) for one in rows]


def test_a_grid_has_every_run_once_and_the_dense_model_once_a_seed(tmp_path: Path) -> None:
    jobs = grid(tmp_path)
    keys = [job.key[1:] for job in jobs]
    assert len(set(keys)) == len(keys) == 2 * (2 * 2 + 1)
    assert [key for key in keys if key[0] == "dense"] == [("dense", 1.0, 0), ("dense", 1.0, 1)]
    job = next(job for job in jobs if job.key[1:] == ("slow", 0.05, 1))
    assert (job.config.seed, job.config.pruning.density) == (1, 0.05)
    assert (job.config.training.learning_rate, job.config.export.enabled) == (0.001, False)


TUNING = """
[tuning]
csv = "tuning.csv"
accuracy = "unseen_people"
seeds = [7]
density = 0.05
[tuning.variants]
high = ["training.learning_rate=0.3"]
low = ["training.learning_rate=0.1"]
"""


def test_every_method_has_the_same_trials_and_its_best_one_enters_the_grid(tmp_path: Path) -> None:
    text = SWEEP + TUNING
    (tmp_path / "base.toml").write_text("", encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    plan = sweep_plan.load(tmp_path / "sweep.toml")
    trials = sweep_plan.trials(plan, tmp_path)
    assert [(job.method, job.density, job.seed, job.accuracy) for job in trials[:4]] == [
        ("fedtiny @ high", 0.05, 7, "unseen_people"),
        ("fedtiny @ low", 0.05, 7, "unseen_people"),
        ("dense @ high", 1.0, 7, "unseen_people"),
        ("dense @ low", 1.0, 7, "unseen_people"),
    ]
    assert len(trials) == 3 * 2
    assert trials[0].config.training.learning_rate == 0.3
    best = {"fedtiny @ low", "dense @ high", "slow @ high"}
    rows = [
        replace(row(job.method, job.density, 7, 0.9 if job.method in best else 0.8))
        for job in trials
    ]
    foreign = row("fedtiny @ old variant", 0.05, 7, 1.0)
    tuned = sweep_plan.choose(trials, [foreign, *rows])
    assert tuned == {"fedtiny": "low", "dense": "high", "slow": "high"}
    rates = {
        job.method: job.config.training.learning_rate
        for job in sweep_plan.jobs(plan, tmp_path, tuned)
    }
    assert rates == {"fedtiny": 0.1, "dense": 0.3, "slow": 0.001}  # its own setting is not tuned
    assert tuning.sentence(rows) == (
        "watch, tuned by 6 runs that did not diverge, 2 at most for every method, seeds 7 – "
        "high: dense, slow; low: fedtiny."
    )


def test_a_variant_that_diverges_is_out_and_a_method_needs_one_that_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "base.toml").write_text("", encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(SWEEP + TUNING, encoding="utf-8")
    plan = sweep_plan.load(tmp_path / "sweep.toml")
    trials = sweep_plan.trials(plan, tmp_path)
    ended = [
        replace(row(job.method, job.density, 7, 0.9 if "high" in job.method else 0.8))
        for job in trials
        if job.method not in {"fedtiny @ high", "slow @ high", "slow @ low"}
    ]
    assert sweep_plan.choose(trials, ended) == {"fedtiny": "low", "dense": "high"}
    assert sweep_plan.untried(plan, trials, ended) == ["slow"]


def test_tuning_sees_neither_the_test_samples_nor_the_seeds(tmp_path: Path) -> None:
    for old, new in (("unseen_people", "same_people"), ("[7]", "[1, 7]")):
        with pytest.raises(ConfigError, match="another accuracy and other seeds"):
            grid(tmp_path, SWEEP + TUNING.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = [0, 1]", "seeds = []", "seeds"),
        ("densities = [0.1", "densities = [1.5", "densities"),
        ("dataset =", "data =", "data: Extra inputs"),
        ("pruning.order=", "pruning.ordr=", "method slow.*did you mean order"),
        ("[methods]", "[methods", "not valid TOML"),
    ],
)
def test_a_wrong_sweep_file_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        grid(tmp_path, SWEEP.replace(old, new))


def test_the_committed_studies_hold_what_they_promise() -> None:
    watch, fashion = (
        sweep_plan.load(CONFIGS / name) for name in ("study.toml", "study_fashion_mnist.toml")
    )
    assert set(METHODS) < set(watch.methods)
    assert set(watch.densities) == {0.1, 0.05, 0.02, 0.01, 0.005}
    assert set(fashion.densities) == {0.05, 0.01, 0.005}
    rivals = set(fashion.methods) & set(METHODS) - {"fedtiny", "dense"}
    assert len(rivals) >= 5
    for plan in (watch, fashion):
        assert len(set(plan.seeds)) >= 3
        assert plan.tuning
        assert plan.tuning.density in plan.densities
        for job in sweep_plan.jobs(plan, CONFIGS):
            schedule, federation = job.config.method.schedule, job.config.federation
            adjusting = [r for r in range(1, federation.rounds + 1) if schedule.quota(r, 99, 999)]
            assert adjusting
            assert max(adjusting) < schedule.stop
            assert federation.evaluate_every == federation.rounds


def test_the_pool_appends_what_ends_well_and_names_what_does_not(tmp_path: Path) -> None:
    path, jobs = tmp_path / "study.csv", grid(tmp_path)

    def task(job: Job) -> StudyRow:
        if job.seed and job.method == "slow":
            raise ValueError("[no] luck")
        return replace(row(), method=job.method, density=job.density, seed=job.seed)

    csv_rows.write(path, StudyRow, [])
    console = Screen(file=(tmp_path / "log").open("w", encoding="utf-8"), width=200)
    failures = run_all(jobs, task, ThreadPoolExecutor(2), path, console)
    assert sorted(failures) == [
        "slow 10 % seed 1 failed: [no] luck",
        "slow 5 % seed 1 failed: [no] luck",
    ]
    assert {one.key for one in csv_rows.read(path, StudyRow)} == {
        ("watch", *job.key[1:]) for job in jobs if not (job.seed and job.method == "slow")
    }
    console.file.close()
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "10/10" in log
    assert "ValueError: [no] luck" in log


def test_rows_survive_the_csv_and_a_crash_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "deep/study.csv"
    rows = [row(accuracy=1 / 3), replace(row("dense", 1.0), peak_memory_bytes=None)]
    csv_rows.write(path, StudyRow, rows[:1])
    csv_rows.append(path, rows[1])
    assert csv_rows.read(path, StudyRow) == rows
    assert path.read_text(encoding="utf-8").splitlines()[0] == (
        "dataset,method,density,seed,accuracy,uplink_bytes,train_flops_per_round,"
        "peak_memory_bytes,rounds,width,commit,data"
    )
    path.write_text(path.read_text(encoding="utf-8") + "watch,fedtiny,0.0", encoding="utf-8")
    assert csv_rows.read(path, StudyRow) == rows


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("accuracy", "precision"), "expected the columns"),
        (lambda text: text.replace(",0.5,", ",much,"), "line 2"),
        (lambda text: text.replace(",abc", ""), "line 2"),
        (lambda text: text + text.splitlines()[1] + "\n", "line 3.*there already"),
    ],
)
def test_a_wrong_csv_is_named(tmp_path: Path, change, words: str) -> None:
    path = tmp_path / "study.csv"
    csv_rows.write(path, StudyRow, [row()])
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RowError, match=words):
        csv_rows.read(path, StudyRow)


def test_the_summary_is_mean_and_sample_deviation_in_any_order() -> None:
    rows = [row(seed=0, accuracy=0.5), row(seed=1, accuracy=0.6), row(seed=2, accuracy=0.7)]
    line = study_tables.summarize(rows).iloc[0]
    assert line["accuracy_mean"] == pytest.approx(0.6)
    assert line["accuracy_sd"] == pytest.approx(0.1)
    shuffled = many()
    random.Random(1).shuffle(shuffled)
    assert study_tables.markdown(shuffled) == study_tables.markdown(many())


def test_the_relations_are_told_seed_by_seed() -> None:
    ours = [row(seed=s, accuracy=0.8) for s in range(3)]
    behind = [row("snip", seed=s, accuracy=0.7) for s in range(3)]
    mixed = [row("erk", seed=s, accuracy=a) for s, a in enumerate((0.7, 0.7, 0.9))]
    table = study_tables.relations("watch", [*ours, *behind, *mixed])
    assert table.rows == [
        ["erk", "+3.3 [-25.4, +32.0]", "3", "not confirmed"],
        ["snip", "+10.0 [+10.0, +10.0]", "3", "confirmed"],
    ]


def test_the_search_has_a_row_a_shape_and_a_seed_and_a_table_of_its_own(tmp_path: Path) -> None:
    text = (
        SWEEP
        + """
[search]
settings = ["pruning.method=erk"]
shapes = { "smartwatch_cnn" = 0.01, "smartwatch_cnn@9" = 0.5, "smartwatch_cnn@6" = 1.0 }
"""
    )
    jobs = [job for job in grid(tmp_path, text) if job.method == "search"]
    assert len(jobs) == 2 * 3
    assert {(job.config.model.name, job.density, job.config.pruning.method) for job in jobs} == {
        ("smartwatch_cnn", 0.01, "erk"),
        ("smartwatch_cnn@9", 0.5, "erk"),
        ("smartwatch_cnn@6", 1.0, "erk"),
    }
    rows = [
        replace(row("search", d, seed, 0.5 + d / 10 + seed / 100), width=w)
        for w, d in ((32, 0.01), (9, 0.5))
        for seed in range(2)
    ]
    table = study_tables.search("watch", rows)
    assert [line[:4] for line in table.rows] == [
        ["32", "1 %", "50.6 ± 0.7", "2"],
        ["9", "50 %", "55.5 ± 0.7", "2"],
    ]
    ours = [row("fedshape", 0.01, seed, 0.6 + seed / 100) for seed in range(3)]
    assert "search" not in set(study_tables.summarize([*rows, *ours])["method"])
    theirs = [row("snip", 0.01, seed, 0.5 + seed / 50) for seed in range(2)]
    assert study_tables.pairs("watch", [*rows, *ours, *theirs]).rows == [
        ["snip", "+9.5 [+3.1, +15.9]"],
    ]


def test_nothing_beats_the_pareto_front() -> None:
    draw = random.Random(2)
    points = [(draw.randrange(20), draw.randrange(20)) for _ in range(60)]
    front = pareto_front(*zip(*points, strict=True))
    for k, (cost, gain) in enumerate(points):
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        same = points[k] in [points[f] for f in front]
        assert same != beaten


def test_every_figure_stays_in_its_picture() -> None:
    charts = study_charts(many())
    assert len(charts) == 2 * 4
    for chart in charts:
        with style():
            canvas = FigureCanvasAgg(chart.figure)
            canvas.draw()
        box = chart.figure.get_tightbbox(canvas.get_renderer())
        assert box.x0 >= -0.01
        assert box.y0 >= -0.01
        assert box.x1 <= chart.figure.get_figwidth() + 0.01
        assert box.y1 <= chart.figure.get_figheight() + 0.01


def test_the_report_needs_nothing_beside_it(tmp_path: Path) -> None:
    csv_rows.write(
        tmp_path / "study.csv", StudyRow, [one for one in many() if one.dataset == "watch"]
    )
    paths = study_report(tmp_path / "study.csv", tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 2 * 4
    assert all(source.startswith("data:") for source in sources)
    picture = next(path for path in paths if path.suffix == ".png")
    assert base64.b64encode(picture.read_bytes()).decode() in page
    assert picture.with_suffix(".csv").is_file()
    latex = (tmp_path / "out/study.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == 4
    assert not re.search(r"(?<!\\)%", re.sub(r"^% .*$", "", latex, flags=re.MULTILINE))


def test_the_tables_go_between_the_markers_of_a_page(tmp_path: Path, capsys) -> None:
    csv, page = tmp_path / "study.csv", tmp_path / "page.md"
    csv_rows.write(csv, StudyRow, [row(seed=s) for s in range(3)])
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    plot(study=csv, page=page)
    assert str(tmp_path / "study/report.html") in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert text == f"before\n{BEGIN}\n{study_markdown(csv)}\n{END}\nafter\n"
    assert "| fedtiny | 50.0 ± 0.0 |" in text
    with pytest.raises(FedTinyError, match="--study"):
        plot()


def test_a_row_counts_what_the_events_say(tmp_path: Path) -> None:
    def exchange(wire: int) -> Exchanged:
        sizes = Traffic(0, 999, {}), Traffic(0, wire, {})
        return Exchanged(1, Phase.TRAIN, 2, 2, *sizes, (), 0.0)

    def evaluation(round: int, group: Group, correct: int) -> Evaluated:
        return Evaluated(round, group, 0, 10, correct, 0.0, ((correct, 0), (10 - correct, 0)))

    def metered(peak: int | None) -> Metered:
        return Metered(1, 0, LedgerEntry(0, "pi_4", 99, 50, peak, 4, StepPlan(4), {}))

    events = [
        DeviceDescribed(0, 0, 3, None),
        DeviceDescribed(0, 1, 5, None),
        exchange(7),
        ModelPrepared(0, 0.5, 0.5, 10, {}, {"method": "snip"}),
        *(metered(peak) for peak in (40, 60, None)),
        RoundFinished(1, 0.5, 0.5, 20, {}, loss=1.0, seconds=1.0, adjustment_flops=6),
        evaluation(1, "same_people", 1),
        exchange(8),
        RoundFinished(2, 0.5, 0.5, 999, {}, loss=1.0, seconds=1.0, adjustment_flops=0),
        *(evaluation(2, "same_people", correct) for correct in (9, 6)),
        evaluation(2, "unseen_people", 0),
    ]
    folder = RunFolder(tmp_path)
    folder.create(parse({"federation": {"rounds": 2}, "training": {"epochs": 2}, "seed": 4}))
    MetricsWriter(folder.metrics, events).close()
    graph = build("smartwatch_cnn@3", (6, 1, 128), 7)
    model = sparse_model(graph)
    names, sensor = tuple("abcdefg"), SensorSpec(tuple("uvwxyz"), ("m",) * 6, (1.0,) * 6)
    TrainedModel(graph, model, unnormalized(6), {}, names, sensor).save(folder.model)
    found = study.measure(folder, "watch", "snip", 0.05, "same_people", "abc")
    # Two epochs of 4 samples in the mean: (8 · 10 + 6 + 8 · 20) / 2 FLOPs a round.
    assert found == StudyRow("watch", "snip", 0.05, 4, 0.75, 15, 123, 60, 2, 3, "abc", "")
    MetricsWriter(folder.metrics, events[:-3]).close()
    with pytest.raises(RowError, match="no same_people were evaluated in round 2"):
        study.measure(folder, "watch", "snip", 0.05, "same_people", "abc")


@pytest.mark.deploy
def test_a_sweep_goes_on_where_it_stopped_and_gives_the_same_rows_again(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    settings = [*tiny_overrides, "federation.rounds=1", "pruning.stop=1", "training.batch_size=8"]
    text = re.sub(r"settings = .*", f"settings = {json.dumps(settings)}", SWEEP)
    text = re.sub(r"slow = .*", "", text)
    text = text.replace("seeds = [0, 1]", "seeds = [0]").replace("[0.1, 0.05]", "[0.05]")
    text = text.replace("base.toml", str(CONFIGS / "demo.toml"))
    (tmp_path / "sweep.toml").write_text(text + TUNING, encoding="utf-8")
    path, trials = tmp_path / "study.csv", tmp_path / "tuning.csv"
    command = [str(tmp_path / "sweep.toml"), "--runs", str(tmp_path / "runs"), "--workers", "1"]

    def sweep(*more: str) -> str:
        result = CliRunner().invoke(cli, [*command, "--out", str(tmp_path), *more])
        assert result.exit_code == 0, result.output
        return path.read_text(encoding="utf-8")

    first, tried = sweep(), trials.read_text(encoding="utf-8")
    assert [one.method for one in csv_rows.read(trials, StudyRow)] == [
        "dense @ high", "dense @ low", "fedtiny @ high", "fedtiny @ low",
    ]  # fmt: skip
    rows = csv_rows.read(path, StudyRow)
    assert [one.key for one in rows] == [("watch", "dense", 1.0, 0), ("watch", "fedtiny", 0.05, 0)]
    dense, sparse = rows
    assert 0.2 < sparse.accuracy <= 1
    assert sparse.uplink_bytes < dense.uplink_bytes
    assert sparse.train_flops_per_round < dense.train_flops_per_round / 3
    assert 0 < (sparse.peak_memory_bytes or 0) < (dense.peak_memory_bytes or 0)
    path.write_text("".join(first.splitlines(keepends=True)[:-1]), encoding="utf-8")
    assert sweep() == first
    assert trials.read_text(encoding="utf-8") == tried
    assert not list((tmp_path / "runs").glob("*/*/checkpoints"))


def test_only_one_sweep_writes_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        SWEEP.replace("base.toml", str(CONFIGS / "demo.toml")), encoding="utf-8"
    )
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    command = [str(tmp_path / "sweep.toml"), "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, command)
    os.close(folder)
    assert result.exit_code == 2
    assert "another sweep is writing" in result.stderr


@pytest.mark.parametrize(
    ("name", "csv", "trials", "command"),
    [
        ("study", COMMITTED, TRIALS, "make study"),
        ("shapes", ROOT / "docs/results/shapes.csv", None, "make study-shapes"),
        ("wins", ROOT / "docs/results/wins.csv", None, "make study-wins"),
    ],
)
def test_a_page_says_what_its_csv_says(
    name: str, csv: Path, trials: Path | None, command: str
) -> None:
    page = (ROOT / f"docs/results/{name}.md").read_text(encoding="utf-8")
    assert replace_block(page, BEGIN, END, study_markdown(csv, trials)) == page, command
