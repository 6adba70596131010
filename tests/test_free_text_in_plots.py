"""Whatever a name is, it is drawn as it is written, listed in the legend, and does not collide."""

import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_report_plots import make_run

from fedtiny.escaping.plot import broken, legend_label, legend_text
from fedtiny.report.plots.accuracy import accuracy_by_round, accuracy_by_uplink
from fedtiny.report.plots.density import layer_densities
from fedtiny.report.plots.people import confusion_matrices
from fedtiny.report.plots.style import legend_below, logarithmic, panels, style

HOSTILE = [
    "$$", "$a_$", "cost $5", r"\$x\$", "_first", "__", "a_b^c", r"\frac{", "%d", "[red]", "*/",
    "]]>", "<&", "\N{ZERO WIDTH NO-BREAK SPACE}bom", "שלום", "\N{GRINNING FACE}", "naïve", "{x:g}",
    "dense reference", "n" * 200, "\N{WORD JOINER}", " ", "_", "$", "\\", "'\"", "漢字" * 20,
]  # fmt: skip
names = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=60
)


def drawn(text: Text) -> str:
    """What Matplotlib's Text draws: after its own idea of mathematics and escapes."""
    shown, mathematics = text._preprocess_math(text.get_text())
    assert mathematics is False
    return shown


@given(st.lists(names, min_size=1, max_size=5, unique=True))
@settings(deadline=None, max_examples=60)
def test_a_legend_lists_every_name_as_it_is_written(texts: list[str]) -> None:
    with style():
        figure, (axes,) = panels(1, 1, 7.0, 3.0)
        for text in texts:
            axes.plot([0, 1], label=legend_label(text))
        axes.set_title(broken(texts[0]))
        axes.set_xticks(range(len(texts)), [broken(text) for text in texts])
        legend_below(figure, [axes])
        (legend,) = figure.legends
        everything = [*legend.get_texts(), *axes.get_xticklabels(), axes._left_title]
        assert [drawn(text).replace("\n", "") for text in everything] == [
            *texts, *texts, texts[0]
        ]  # fmt: skip
        assert all(legend_text(legend_label(text)) == text for text in texts)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Pictures of few pixels: what is drawn is asked of Matplotlib, not seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["fedtiny.report.plots.style"], "DPI", 20)
        yield


def test_runs_and_classes_of_any_name_are_drawn(tmp_path) -> None:
    run, count = make_run(rounds=2), len(HOSTILE)
    confusion = {"same_people": np.eye(count, dtype=int).tolist()}
    some = dict.fromkeys(HOSTILE[:4], run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with style():
            overlay = accuracy_by_round(dict.fromkeys(HOSTILE, run))
            matrix = confusion_matrices(replace(run, labels=HOSTILE, confusion=confusion))
            for chart in (overlay, matrix, layer_densities(some)):
                assert chart.save(tmp_path).stat().st_size > 1000
    listed = [text.get_text().replace("\n", "") for text in overlay.figure.legends[0].get_texts()]
    assert listed == HOSTILE
    shown = [text.get_text().replace("\n", "") for text in matrix.figure.axes[0].get_yticklabels()]
    assert shown == HOSTILE


def test_a_run_may_be_called_as_what_it_is_compared_with() -> None:
    run = make_run(rounds=2)
    with style():
        chart = accuracy_by_round({"dense reference": replace(run, dense=run)})
    listed = [text.get_text() for text in chart.figure.legends[0].get_texts()]
    assert listed == ["dense reference", "its dense reference"]


@pytest.mark.parametrize(
    "labels", [["a", "a"], ["a"], [], ["k"] * 40, [str(k) for k in range(100)]]
)
def test_any_number_of_classes_and_equal_names(labels: list[str], tmp_path) -> None:
    count = len(labels)
    confusion = {g: np.eye(count, dtype=int).tolist() for g in ("same_people", "unseen_people")}
    with style():
        chart = confusion_matrices(replace(make_run(2), labels=labels, confusion=confusion))
        chart.save(tmp_path)
    assert len(chart.data) == 2 * count**2
    assert chart.data["count"].sum() == 2 * count


def extents(figure: Figure, texts: list[Text]) -> list[tuple[str, float, float, float, float]]:
    """(text, left, bottom, right, top) on the canvas."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts]
    return [(name, b.x0, b.y0, b.x1, b.y1) for name, b in boxes]


@pytest.mark.parametrize("source", ["watch", "other"])
@pytest.mark.parametrize("labels", [["a"], ["a", "b"], ["x" * 200, "b"], ["y" * 90] * 3])
def test_the_titles_of_the_confusion_panels_do_not_overlap(labels: list[str], source: str) -> None:
    run, count = make_run(2), len(labels)
    if source != "watch":
        data = run.config.data.model_copy(update={"source": "npz"})
        run = replace(run, config=run.config.model_copy(update={"data": data}))
    confusion = {g: [[7] * count] * count for g in ("same_people", "unseen_people")}
    with style():
        chart = confusion_matrices(replace(run, labels=labels, confusion=confusion))
        panels_, figure = chart.figure.axes[:2], chart.figure
        first, second = extents(figure, [axes._left_title for axes in panels_])
        assert first[3] < second[1]
        assert first[1] >= 0
        assert second[3] <= figure.bbox.width
        ticks = extents(figure, panels_[0].get_yticklabels())
        for (_, _, low, _, _), (_, _, _, _, high) in itertools.pairwise(ticks):
            assert low >= high - 1  # rows go down
        assert all(left >= 0 for _, left, *_ in ticks)


def test_numbers_on_logarithmic_axes_are_no_mathematics() -> None:
    with style():
        figure, axes = panels(1, 3, 9.0, 3.0)
        for one, (low, high) in zip(axes, [(2, 5), (0.01, 1e6), (3e5, 4e5)], strict=True):
            one.plot([low, high], [low, high])
            logarithmic(one, "x")
            logarithmic(one, "y", base=2, marks="{x:g}×")
        FigureCanvasAgg(figure).draw()
        shown = [
            text.get_text()
            for one in axes
            for axis in (one.xaxis, one.yaxis)
            for text in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True))
        ]
    assert any(shown)
    assert not [text for text in shown if "$" in text or "\\" in text]


def test_a_users_matplotlib_settings_change_no_picture(tmp_path) -> None:
    run = make_run(2)

    def picture(name: str) -> bytes:
        with style():
            accuracy_by_uplink({"run": run}).save(tmp_path / name)
        return (tmp_path / name / "accuracy_uplink.png").read_bytes()

    plain = picture("plain")
    with matplotlib.rc_context(
        {"lines.linewidth": 9, "text.usetex": True, "savefig.bbox": "tight"}
    ):
        assert picture("set") == plain


def test_no_backend_or_settings_of_the_environment_stop_a_report(tmp_path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 20\n", encoding="utf-8")
    code = (
        "import fedtiny.report.plots, matplotlib, os, sys\n"
        "from matplotlib.figure import Figure\n"
        "Figure().savefig('x.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "print(os.environ['MPLBACKEND'])"
    )
    names = {"MPLBACKEND": "module://of_a_notebook", "MATPLOTLIBRC": "/nowhere", "DISPLAY": ":99"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **names},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "module://of_a_notebook"  # others' settings stay theirs
