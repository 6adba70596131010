"""Every figure is legible: nothing leaves the picture, and labels do not cover each other."""

import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fedtiny import config as run_config
from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.memory.step import StepPlan
from fedtiny.report.clock import read_clock
from fedtiny.report.metrics import Run
from fedtiny.report.plots.accuracy import accuracy_by_round, accuracy_by_time, accuracy_by_uplink
from fedtiny.report.plots.clock import round_gantt
from fedtiny.report.plots.density import layer_densities
from fedtiny.report.plots.footprint import firmware_footprint
from fedtiny.report.plots.ledger import memory_ledger
from fedtiny.report.plots.people import accuracy_per_person, confusion_matrices
from fedtiny.report.plots.style import colors, style
from fedtiny.report.plots.tiers import accuracy_by_tier
from fedtiny.report.plots.traffic import bytes_by_phase
from fedtiny.runs.clock_events import ClockAdvanced, TaskTimed
from fedtiny.runs.events import Pretrained, RunStarted
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import Recording
from fedtiny.runs.outcome import Outcome
from fedtiny.wire.phase import Phase

LAYERS = [f"stage{k // 3}_block{k}_convolution" for k in range(9)]
LABELS = ["ankle boot", "trapezius extension", "internal rotation", "a class of a rather long name"]
CLIENTS = 12


def make_run(rounds=20):
    numbers = range(1, rounds + 1)
    who = [("same_people", k) for k in range(CLIENTS)] + [("unseen_people", 10)]
    evaluations = [(r, group, k, 50, 30 + r % 20) for r in numbers for group, k in who]
    table = pd.DataFrame(evaluations, columns=["round", "group", "who", "count", "correct"])
    phases = ["candidate_losses", "train", "evaluate", "calibrate"]
    traffic = [(p, r, d, CLIENTS, CLIENTS, 900_000, 1_000_000, 0.1)
               for p in phases for r in numbers for d in ("up", "down")]  # fmt: skip
    columns = ["phase", "round", "direction", "asked", "answered", "payload", "wire", "seconds"]
    lines = dict.fromkeys(LedgerLine, 200_000)
    boards = ["esp32_s3", "stm32f746g_disco", "pi_5", "a_board_of_somebody_else"]
    entries = [
        LedgerEntry(
            k,
            boards[k % 4],
            10 ** (6 + k % 4),
            990_000,
            950_000,
            64,
            StepPlan(8 << k % 4, ("conv1", "conv2")[: k % 3]),
            lines,
        )
        for k in range(CLIENTS)
    ]
    return Run(
        folder=RunFolder(Path("runs/some")),
        config=run_config.parse({"name": "some", "data": {"partitions": CLIENTS}}),
        start=RunStarted(0, "sparse", "smartwatch_cnn", 70_000, 500, 100),
        pretrained=Pretrained(0, 0.0, 0, 0, 0.0),
        story={"method": "fedtiny"},
        traffic=pd.DataFrame(traffic, columns=columns),
        kinds=pd.DataFrame(),
        failures=[],
        evaluations=table.assign(accuracy=table["correct"] / table["count"]),
        confusion={g: [[1000, 3, 0, 70]] * 4 for g in ("same_people", "unseen_people")},
        rounds=pd.DataFrame({"round": [0, *numbers], "density": 0.05}),
        densities=pd.DataFrame(
            [(r, name, 0.02 + 0.01 * k) for r in numbers for k, name in enumerate(LAYERS)],
            columns=["round", "layer", "density"],
        ),
        adjustments=pd.DataFrame(
            [(2 * k + 2, name, 10 * k + 5) for k, name in enumerate(LAYERS)],
            columns=["round", "layer", "exchanged"],
        ),
        ledger=entries,
        measured={},
        labels=LABELS,
        export=None,
        dense=None,
    )


RUN = make_run()
WITH_DENSE = replace(RUN, dense=replace(RUN, story={"method": "dense"}))
TWO_CLASSES = replace(
    RUN,
    config=run_config.parse({"data": {"source": "cifar10", "path": "cifar", "partitioner": "iid"}}),
    labels=["no", "yes"],
    confusion={group: [[50, 3], [7, 40]] for group in ("same_people", "unseen_people")},
)
TASKS = [  # of one round: everything that can happen, and more devices than are shown
    (10, k, f"a group of some length {k % 3}", outcome, 10, 100.0, down, compute, up, 9, 9)
    for k in range(60)
    for outcome, down, compute, up in [
        [(Outcome.COUNTED, 1, 9, 2), (Outcome.LATE, 3, 30, 9), (Outcome.DROPPED, 0, 0, 0),
         (Outcome.BROKE, 1, 4, 0), (Outcome.AWAY, 0, 0, 0), (Outcome.LEFT, 2, 8, 1)][k % 6]
    ]
]  # fmt: skip
CLOCK = read_clock(
    Recording(
        tuple([TaskTimed(*one) for one in TASKS])
        + tuple(
            ClockAdvanced(r, 10.0 * r, 10.0 * r + (20 if r == 3 else 10), {}) for r in range(21)
        )
    )
)
TIMED = replace(RUN, clock=CLOCK)
EXPORT = {"flash_bytes": 123_456, "arena_bytes": 65_432}
FOUR = {f"a run with a name, seed {k}": RUN for k in range(4)}
CHARTS = {
    "accuracy": lambda: accuracy_by_round({"some": WITH_DENSE}),
    "accuracy of four": lambda: accuracy_by_round(FOUR),
    "accuracy_uplink": lambda: accuracy_by_uplink({"some": WITH_DENSE}),
    "accuracy_time": lambda: accuracy_by_time({"some": TIMED, "without a clock": RUN}),
    "round_gantt": lambda: round_gantt(CLOCK),
    "people": lambda: accuracy_per_person(WITH_DENSE),
    "confusion": lambda: confusion_matrices(RUN),
    "confusion of two": lambda: confusion_matrices(TWO_CLASSES),
    "density": lambda: layer_densities({"some": RUN}),
    "density of four": lambda: layer_densities(FOUR),
    "bytes": lambda: bytes_by_phase(WITH_DENSE),
    "ledger": lambda: memory_ledger(RUN),
    "footprint": lambda: firmware_footprint(EXPORT),
}


@pytest.fixture(params=CHARTS, scope="module")
def drawn(request):
    """A figure after layout, and its renderer."""
    with style():
        figure = CHARTS[request.param]().figure
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return figure, canvas.get_renderer()


def test_nothing_leaves_the_picture(drawn):
    figure, renderer = drawn
    box = figure.get_tightbbox(renderer)  # inches
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    assert box.y1 <= figure.get_figheight() + 0.01


def test_tick_labels_do_not_cover_each_other(drawn):
    figure, renderer = drawn
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            if any(label.get_rotation() for label in labels):
                continue  # bounding boxes of slanted text overlap where the text does not
            shown = [label for label in labels if label.get_visible() and label.get_text()]
            boxes = [label.get_window_extent(renderer) for label in shown]
            for a, b in itertools.pairwise(boxes):
                assert not a.overlaps(b) or a.x0 == b.x0 == a.x1


def test_titles_do_not_cover_each_other(drawn):
    figure, renderer = drawn
    boxes = [
        title.get_window_extent(renderer)
        for axes in figure.axes
        for title in (axes.title, axes._left_title)
        if title.get_text()
    ]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_notes_stay_inside_their_axes(drawn):
    figure, renderer = drawn
    for axes in figure.axes:
        frame = axes.get_window_extent(renderer).padded(2)
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert frame.contains(box.x0, box.y0), text
            assert frame.contains(box.x1, box.y1), text


def test_axes_say_what_and_in_which_unit(drawn):
    figure, _ = drawn
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert any(unit in labels for unit in ("(%)", "MiB", "KiB", "(s)"))


@pytest.mark.parametrize("count", [1, 7, 8, 30])
def test_colours_are_distinct(count):
    assert len(set(colors(count))) == count


def test_the_same_numbers_give_the_same_picture(tmp_path):
    files = []
    for name in ("a", "b"):
        with style():
            files.append(memory_ledger(RUN).save(tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_bytes_of_every_phase_that_sends_are_drawn():
    one = RUN.traffic.iloc[:2]
    sending = [phase for phase in Phase if phase is not Phase.PRETRAIN]
    traffic = pd.concat([one.assign(phase=phase.value) for phase in sending])
    with style():
        data = bytes_by_phase(replace(RUN, traffic=traffic)).data
    sent = data[(data["direction"] == "up") & (data["what"] == "this run")]
    assert sent["bytes"].sum() == len(sending) * one["wire"].iloc[0]
    assert "score weights" in set(sent["phase"])


def test_many_clients_are_cut_and_the_caption_says_so():
    many = pd.concat(
        [RUN.evaluations.assign(who=RUN.evaluations["who"] + 20 * k) for k in range(5)]
    )
    with style():
        chart = accuracy_per_person(replace(RUN, evaluations=many))
    assert "The 40 lowest of 65 are shown." in chart.caption
    assert len(chart.data) == 65


def test_every_part_has_a_line_and_the_untrained_one_says_so():
    parts = [(0.5, 0.4, 3, 100), (1.0, 1.0, 2, 300), (1.0, 0.1, 0, 60)]
    history = [
        {"round": r, "width": w, "density": d, "devices": n, "nnz": nnz, "accuracy": 0.1 * r * w}
        for r in (2, 4)
        for w, d, n, nnz in parts
    ]
    with style():
        chart = accuracy_by_tier({"history": history})
    left, right = chart.figure.axes
    lines = {line.get_label(): line for line in left.lines}
    assert lines.keys() == {
        "width 0.5, density 0.4", "width 1, density 1", "width 1, density 0.1 (untrained)",
    }  # fmt: skip
    assert lines["width 0.5, density 0.4"].get_ydata().tolist() == pytest.approx([10, 20])
    assert sorted(line.get_xdata()[0] for line in right.lines) == [60, 100, 300]
    assert len(chart.data) == 6


def test_a_part_that_was_not_evaluated_in_the_last_round_is_not_drawn_after_it():
    """The density that nobody trains is a share of the global part's, which devices may change."""
    parts = [(2, 0.5, 1, 300), (2, 0.05, 0, 30), (4, 0.5, 1, 300), (4, 0.1, 0, 60)]
    history = [
        {"round": r, "width": 1.0, "density": d, "devices": n, "nnz": nnz, "accuracy": 0.5}
        for r, d, n, nnz in parts
    ]
    with style():
        _, right = accuracy_by_tier({"history": history}).figure.axes
    assert sorted(x for line in right.lines for x in line.get_xdata()) == [60, 300]
