"""The table beside the samples: which family is which client, where it is from, what was left."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sims.glyphs.alike import Family
from sims.glyphs.clients import Clients
from sims.glyphs.faces import LETTERS
from sims.glyphs.packages import origin
from sims.glyphs.samples import copies

Table = dict[str, Any]


def table(clients: Clients, fonts: Path, seed: int, npz: bytes) -> Table:
    """What ``glyphs.json`` holds.

    Args:
        clients: the families.
        fonts: the folder they were read from.
        seed: of the data set.
        npz: the file that the samples were written to.
    """
    return {
        "what": "rendered type, not handwriting; copies of one drawing differ by jitter alone",
        "seed": seed,
        "sha256": hashlib.sha256(npz).hexdigest(),
        "families": [_row(owner, one, fonts) for owner, one in enumerate(clients.families)],
        "left_out": [
            {"name": one.name, "package": one.package, "reason": one.reason}
            for one in clients.skipped
        ],
    }


def _row(owner: int, family: Family, fonts: Path) -> Table:
    names = sorted({face.package for face in family.faces})
    each = copies(len(family.faces))
    return {
        "owner": owner,
        "family": family.name,
        "styles": [face.style for face in family.faces],
        "copies": each,
        "samples": len(LETTERS) * len(family.faces) * each,
        "sources": [origin(fonts, name).record() for name in names],
    }


def licences(rows: Sequence[Table]) -> dict[str, int]:
    """How many families are under each licence, the most common first.

    >>> licences([{"sources": [{"licence": "MIT"}]}, {"sources": [{"licence": "MIT"}]}])
    {'MIT': 2}
    """
    counts: dict[str, int] = {}
    for row in rows:
        for licence in sorted({source["licence"] for source in row["sources"]}):
            counts[licence] = counts.get(licence, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
