"""The table of docs/results/learn_on_mcu.md, from its CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

BEGIN, END = "<!-- learn: made by `python -m sims.study.learn` -->", "<!-- /learn -->"


def table(csv: Path) -> str:
    """Memory, instructions and accuracy by board and method, means over people."""
    rows = pd.read_csv(csv)
    lines = [
        f"{rows['person'].nunique()} people, {rows['seed'].nunique()} seed(s), two takes of each "
        "exercise; accuracies in %, means over people.",
        "",
        "| core | method | RAM in all | flash in all | instructions a step | of these an update "
        "| to classify | before | after | float: before | after | gain kept |",
        f"|---|---|{'---:|' * 10}",
    ]
    for (core, method), mine in rows.groupby(["core", "method"], sort=False):
        means = mine.mean(numeric_only=True)
        gain = means["accuracy_after"] - means["accuracy_before"]
        by_float = means["float_after"] - means["float_before"]
        kept = f"{100 * gain / by_float:.0f} %" if by_float > 0 else "no gain"
        sizes = [f"{int(mine[name].max()):,}" for name in ("ram_bytes", "flash_bytes")]
        names = ("instructions_per_step", "update_instructions", "classify_instructions")
        sizes += [f"{means[name]:,.0f}" for name in names]
        shares = ("accuracy_before", "accuracy_after", "float_before", "float_after")
        cells = [*sizes, *(f"{100 * means[name]:.1f}" for name in shares), kept]
        lines.append(f"| {core.upper()} | `{method}` | {' | '.join(cells)} |")
    unequal = int(rows["unequal_losses"].sum())
    steps = f"Steps whose loss differs from the reference's in any bit: {unequal}."
    return "\n".join([*lines, "", steps])
