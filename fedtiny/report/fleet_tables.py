"""The study of unequal devices as tables: what policies reach, and by how much ours is ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from fedtiny.report.fleet_study import FleetRow
from fedtiny.report.study_tables import Table
from fedtiny.tiers.config import PolicyName

OURS = PolicyName.NESTED.value


def by_method(rows: Sequence[FleetRow]) -> dict[str, list[FleetRow]]:
    """Rows of one dataset by method, ours first, then as ``tiers.policy`` lists them; by seed."""
    names = [name.value for name in PolicyName]
    order = sorted({row.method for row in rows}, key=lambda name: _rank(name, names))
    ordered = sorted(rows, key=lambda row: row.seed)
    return {name: [row for row in ordered if row.method == name] for name in order}


def _rank(method: str, names: Sequence[str]) -> tuple[bool, int, str]:
    return method != OURS, names.index(method) if method in names else len(names), method


def tables(rows: Sequence[FleetRow]) -> list[Table]:
    """Every table, dataset by dataset."""
    found = []
    for dataset in sorted({row.dataset for row in rows}):
        mine = [row for row in rows if row.dataset == dataset]
        found += [_reached(dataset, mine), differences(dataset, mine)]
    return [table for table in found if table.rows]


def _reached(dataset: str, rows: Sequence[FleetRow]) -> Table:
    quantities: dict[str, Callable[[FleetRow], float]] = {
        "global (%)": lambda row: 100 * row.global_accuracy,
        "mean device (%)": lambda row: 100 * row.mean_device_accuracy,
        "worst part (%)": lambda row: 100 * row.worst_tier_accuracy,
        "sent up (MiB)": lambda row: row.uplink_bytes / 2**20,
        "simulated hours": lambda row: row.virtual_seconds / 3600,
        "devices that train": lambda row: row.training_devices,
        "largest peak / budget": lambda row: row.largest_share,
    }
    lines = [
        [
            method,
            *(_spread([value(row) for row in group]) for value in quantities.values()),
            _each([row.global_width for row in group]),
        ]
        for method, group in by_method(rows).items()
    ]
    seeds = len({row.seed for row in rows})
    caption = f"{dataset}: mean ± sd of {seeds} seeds"
    return Table(caption, ["who trains what", *quantities, "width of global"], lines)


def differences(dataset: str, rows: Sequence[FleetRow]) -> Table:
    """Global accuracy, ours minus every other's, seed by seed.

    *Ahead* where the mean difference is above its sample standard deviation.
    """
    groups = by_method(rows)
    ours = {row.seed: row.global_accuracy for row in groups.pop(OURS, [])}
    lines = []
    for method, group in groups.items():
        gaps = [100 * (ours[row.seed] - row.global_accuracy) for row in group if row.seed in ours]
        if len(gaps) > 1:
            mean, sd = fmean(gaps), stdev(gaps)
            verdict = "ahead" if mean > sd else "behind" if mean < -sd else "no difference seen"
            lines.append([method, f"{mean:+.1f} ± {sd:.1f}", verdict])
    caption = f"{dataset}: points of global accuracy, {OURS} minus the other, seed by seed"
    return Table(caption, ["other", "difference", f"{OURS} is"], lines)


def _each(values: Sequence[float]) -> str:
    """Seed by seed; once if all are the same.

    >>> _each([0.5, 1.0, 0.5]), _each([1.0, 1.0])
    ('0.5, 1, 0.5', '1')
    """
    same = len(set(values)) == 1
    return ", ".join(f"{value:g}" for value in (values[:1] if same else values))


def _spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, to three digits or one decimal.

    >>> _spread([70.0, 72.0]), _spread([0.5]), _spread([8, 8])
    ('71.0 ± 1.4', '0.50', '8')
    """
    mean = fmean(values)
    if all(value == int(value) for value in values) and len(set(values)) == 1:
        return f"{mean:.0f}"
    digits = 1 if mean >= 10 else 2
    sd = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{sd}"
