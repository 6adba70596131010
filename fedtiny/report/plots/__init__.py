"""Every figure of a run, or of several over each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import fedtiny.report.plots._alone  # before any other module imports Matplotlib
from fedtiny.report.metrics import Run
from fedtiny.report.plots.accuracy import accuracy_by_round, accuracy_by_time, accuracy_by_uplink
from fedtiny.report.plots.adapting import accuracy_adapted
from fedtiny.report.plots.clock import round_gantt
from fedtiny.report.plots.density import layer_densities
from fedtiny.report.plots.footprint import firmware_footprint
from fedtiny.report.plots.ledger import memory_ledger
from fedtiny.report.plots.people import accuracy_per_person, confusion_matrices
from fedtiny.report.plots.style import style
from fedtiny.report.plots.tiers import accuracy_by_tier
from fedtiny.report.plots.traffic import bytes_by_phase


def plot_run(run: Run, folder: Path) -> dict[str, str]:
    """Draw everything ``run`` has numbers for into ``folder``; captions by figure name."""
    alone = {run.config.name: run}
    with style():
        charts = [
            accuracy_by_round(alone),
            accuracy_by_uplink(alone),
            accuracy_per_person(run),
            confusion_matrices(run),
            layer_densities(alone),
            bytes_by_phase(run),
        ]
        if run.clock is not None:
            charts += [accuracy_by_time(alone), round_gantt(run.clock)]
        if run.tiers is not None and run.tiers["history"]:
            charts.append(accuracy_by_tier(run.tiers))
        if run.adapting is not None:
            charts.append(accuracy_adapted(run.adapting, run.config))
        if run.ledger:
            charts.append(memory_ledger(run))
        if run.export:
            charts.append(firmware_footprint(run.export))
        for chart in charts:
            chart.save(folder)
    return {chart.name: chart.caption for chart in charts}


def plot_overlay(runs: Mapping[str, Run], folder: Path) -> list[Path]:
    """Draw ``runs`` (by the name in the legend) over each other; the pictures' paths."""
    with style():
        charts = [accuracy_by_round(runs), accuracy_by_uplink(runs), layer_densities(runs)]
        if any(run.clock is not None for run in runs.values()):
            charts.append(accuracy_by_time(runs))
        return [chart.save(folder) for chart in charts]


__all__ = ["fedtiny", "plot_overlay", "plot_run"]
