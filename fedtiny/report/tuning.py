"""A study's tuning: which variant of the common settings serves each method best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fedtiny.report.study import StudyRow

_JOINT = " @ "


def trial_name(method: str, variant: str) -> str:
    """The method in the row of a trial.

    >>> trial_name("snip", "learning rate 0.1")
    'snip @ learning rate 0.1'
    """
    return f"{method}{_JOINT}{variant}"


def best_variants(rows: Sequence[StudyRow]) -> dict[str, str]:
    """By method the variant of the largest mean accuracy; of equals the first by name.

    Args:
        rows: trials of one dataset; every variant of a method with the same seeds. A run that
            failed has no row, and counts as one of no accuracy.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row in sorted(rows, key=lambda row: row.key):
        method, variant = row.method.split(_JOINT)
        found.setdefault(method, {}).setdefault(variant, []).append(row.accuracy)
    return {
        method: max(sorted(variants), key=lambda variant: sum(variants[variant]))
        for method, variants in found.items()
    }


def sentence(rows: Sequence[StudyRow]) -> str:
    """What was chosen for whom, dataset by dataset; empty without rows."""
    parts = []
    for dataset in sorted({row.dataset for row in rows}):
        mine = [row for row in rows if row.dataset == dataset]
        best = best_variants(mine)
        seeds = ", ".join(map(str, sorted({row.seed for row in mine})))
        groups = [
            f"{variant}: {', '.join(name for name in best if best[name] == variant)}"
            for variant in sorted(set(best.values()))
        ]
        parts.append(
            f"{dataset}, tuned by {len(mine)} runs that did not diverge, {_most(mine)} at most for "
            f"every method, seeds {seeds} – {'; '.join(groups)}."
        )
    return " ".join(parts)


def _most(rows: Sequence[StudyRow]) -> int:
    """Trials of the method that has most of them."""
    return max(Counter(row.method.split(_JOINT)[0] for row in rows).values())
