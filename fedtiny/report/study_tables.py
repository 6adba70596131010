"""A study as tables: mean ± sample standard deviation over seeds, and the paper's relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

import pandas as pd

from fedtiny.escaping.markdown import markdown_text
from fedtiny.methods import METHODS
from fedtiny.report.paired import difference
from fedtiny.report.study import StudyRow
from fedtiny.report.tables import NOT_RUN, html_table, latex_table, markdown_table

OURS, DENSE, SHAPES = "fedtiny", "dense", "fedshape"
SEARCH = "search"
"""Rows of shapes that were each trained to the end; their densities are those of their widths."""
FOCUS = 0.01
"""Density of the paper's claims."""

QUANTITIES = ("accuracy", "uplink_bytes", "train_flops_per_round", "peak_memory_bytes")

_ONE_SHOT = tuple(name for name, method in METHODS.items() if method.one_shot)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with what is said above it."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """With its caption."""
        return f"{markdown_text(self.caption)}:\n\n{markdown_table(self.headers, self.rows)}"

    def latex(self) -> str:
        """With its caption as a comment."""
        return f"% {' '.join(self.caption.splitlines())}\n{latex_table(self.headers, self.rows)}"

    def html(self) -> str:
        """With its caption."""
        return f"<h2>{escape(self.caption)}</h2>\n{html_table(self.headers, self.rows)}"


def summarize(rows: Sequence[StudyRow]) -> pd.DataFrame:
    """One line per dataset, method and density, whatever the order of ``rows``.

    Returns:
        dataset, method, density, seeds (how many), and ``{quantity}_mean`` and ``_sd`` of
        QUANTITIES; sd is the sample's (n − 1), NaN for one seed. Without the search's rows.
    """
    table = pd.DataFrame([asdict(row) for row in rows if row.method != SEARCH])
    table["peak_memory_bytes"] = table["peak_memory_bytes"].astype(float)
    # Sums of floats depend on their order, and rows come in the order in which runs ended.
    groups = table.sort_values("seed").groupby(["dataset", "method", "density"])
    parts = [groups["seed"].count().rename("seeds")]
    for name in QUANTITIES:
        parts += [
            groups[name].mean().rename(f"{name}_mean"),
            groups[name].std().rename(f"{name}_sd"),
        ]
    found = pd.concat(parts, axis=1).reset_index()
    return found.sort_values(
        ["dataset", "method", "density"],
        key=lambda column: column.map(rank) if column.name == "method" else column,
        ascending=[True, True, False],
        ignore_index=True,
    )


def rank(method: str) -> tuple[int, int, str]:
    """Order in tables and legends: FedTiny, the other methods, FedTiny's ablations.

    >>> sorted(["fedtiny-block", "snip", "dense", "fedtiny"], key=rank)
    ['fedtiny', 'dense', 'snip', 'fedtiny-block']
    """
    names: Sequence[str] = tuple(METHODS)
    place = names.index(method) if method in names else len(names)
    return int(is_ablation(method)), place, method


def is_ablation(method: str) -> bool:
    """Whether a method is FedTiny with something changed."""
    return method.startswith(f"{OURS}-")


def tables(rows: Sequence[StudyRow]) -> list[Table]:
    """Every table of a study, dataset by dataset."""
    summary, found = summarize(rows), []
    for dataset in sorted({row.dataset for row in rows}):
        lines = summary[summary["dataset"] == dataset]
        mine = [row for row in rows if row.dataset == dataset]
        found += [_accuracy(dataset, lines), _cost(dataset, lines), relations(dataset, mine)]
        found += [pairs(dataset, mine), search(dataset, mine)]
    return [table for table in found if table.rows]


def markdown(rows: Sequence[StudyRow]) -> str:
    """All tables, one after another."""
    return "\n\n".join(table.markdown() for table in tables(rows))


def latex(rows: Sequence[StudyRow]) -> str:
    """All tables, one after another."""
    return "\n\n".join(table.latex() for table in tables(rows)) + "\n"


def _accuracy(dataset: str, lines: pd.DataFrame) -> Table:
    densities = sorted(set(lines["density"]), reverse=True)
    rows = []
    for method, group in lines.groupby("method", sort=False):
        by_density = group.set_index("density")
        cells = [
            _spread(by_density.loc[density], "accuracy", 100)
            if density in by_density.index
            else NOT_RUN
            for density in densities
        ]
        rows.append([str(method), *cells])
    seeds = f"{lines['seeds'].min()}–{lines['seeds'].max()}"
    if lines["seeds"].nunique() == 1:
        seeds = f"{lines['seeds'].iloc[0]}"
    caption = f"{dataset}: accuracy (%) by density, mean ± sd of {seeds} seeds"
    return Table(caption, ["method", *(f"{100 * d:g} %" for d in densities)], rows)


def _cost(dataset: str, lines: pd.DataFrame) -> Table:
    """What each method costs at the density of the paper's claims, beside the dense model."""
    chosen = lines[(lines["density"] == FOCUS) | (lines["method"] == DENSE)]
    dense = chosen[chosen["method"] == DENSE]["train_flops_per_round_mean"]
    rows = []
    for _, line in chosen.iterrows():
        ratio = line["train_flops_per_round_mean"] / dense.iloc[0] if len(dense) else None
        rows.append(
            [
                str(line["method"]),
                _spread(line, "uplink_bytes", 1 / 2**20, 2),
                _spread(line, "train_flops_per_round", 1e-9, 3),
                NOT_RUN if ratio is None else f"{ratio:.3f}×",
                _spread(line, "peak_memory_bytes", 1 / 2**10, 0),
            ]
        )
    caption = f"{dataset}: cost at {100 * FOCUS:g} %, mean ± sd"
    headers = ["method", "sent up (MiB)", "GFLOPs per device and round", "of dense", "peak (KiB)"]
    return Table(caption, headers, rows)


def relations(dataset: str, rows: Sequence[StudyRow]) -> Table:
    """The paper's claim at 1 %: FedTiny beats one-shot masks and the narrow model.

    Confirmed means that the 95 % interval of the difference lies above 0.
    """
    at = _by_seed(rows, FOCUS)
    found = []
    for rival in sorted(at.keys() & {*_ONE_SHOT, "narrow"}, key=rank):
        gap = difference(at.get(OURS, {}), at[rival])
        if gap is not None:
            verdict = "confirmed" if gap.is_ahead else "not confirmed"
            found.append([rival, str(gap), str(gap.seeds), verdict])
    caption = (
        f"{dataset}: does FedTiny beat one-shot masks and the narrow model at "
        f"{100 * FOCUS:g} %, as its paper says? Points of accuracy, seed by seed, with 95 % "
        "intervals (t)"
    )
    return Table(caption, ["rival", "FedTiny − rival", "seeds", "the claim"], found)


def pairs(dataset: str, rows: Sequence[StudyRow]) -> Table:
    """FedShape beside every other method, at every density that it ran at."""
    tables = {
        density: _by_seed(rows, density)
        for density in sorted({row.density for row in rows if row.method == SHAPES}, reverse=True)
    }
    names = {name for at in tables.values() for name in at} - {SHAPES, SEARCH}
    found = []
    for rival in sorted(names, key=rank):
        gaps = [difference(at[SHAPES], at.get(rival, {})) for at in tables.values()]
        found.append([rival, *(NOT_RUN if gap is None else str(gap) for gap in gaps)])
    caption = (
        f"{dataset}: FedShape less each method, points of accuracy, seed by seed, with 95 % "
        "intervals (t)"
    )
    return Table(caption, ["method", *(f"{100 * density:g} %" for density in tables)], found)


def search(dataset: str, rows: Sequence[StudyRow]) -> Table:
    """Shapes of equal bytes under fixed masks, each trained to the end."""
    mine = sorted((row for row in rows if row.method == SEARCH), key=lambda row: row.seed)
    shapes = sorted({(row.width or 0, -row.density) for row in mine}, reverse=True)
    found = []
    for width, negative in shapes:
        some = [row for row in mine if (row.width or 0, -row.density) == (width, negative)]
        scores = pd.Series([100 * row.accuracy for row in some])
        sd = "" if len(some) < 2 else f" ± {scores.std():.1f}"
        peaks = [row.peak_memory_bytes for row in some if row.peak_memory_bytes is not None]
        flops = sum(row.train_flops_per_round for row in some) / len(some)
        found.append(
            [
                f"{width}",
                f"{-100 * negative:.3g} %",
                f"{scores.mean():.1f}{sd}",
                str(len(some)),
                f"{sum(row.uplink_bytes for row in some) / len(some) / 2**20:.2f}",
                f"{flops * 1e-9:.3f}",
                NOT_RUN if not peaks else f"{max(peaks) / 2**10:.0f}",
            ]
        )
    caption = f"{dataset}: the exhaustive search at the bytes of {100 * FOCUS:g} %, fixed ERK masks"
    headers = [
        "channels", "density", "accuracy (%)", "seeds", "sent up (MiB)",
        "GFLOPs per device and round", "peak (KiB)",
    ]  # fmt: skip
    return Table(caption, headers, found)


def _by_seed(rows: Sequence[StudyRow], density: float) -> dict[str, dict[int, float]]:
    """Accuracy in percent by method and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.density == density:
            found.setdefault(row.method, {})[row.seed] = 100 * row.accuracy
    return found


def _spread(line: pd.Series, quantity: str, scale: float, digits: int = 1) -> str:
    mean, sd = scale * line[f"{quantity}_mean"], scale * line[f"{quantity}_sd"]
    if pd.isna(mean):
        return NOT_RUN
    return f"{mean:.{digits}f}" + ("" if pd.isna(sd) else f" ± {sd:.{digits}f}")
