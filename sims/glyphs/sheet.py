"""A contact sheet: some families, all letters, one sample of each as it is in the file."""

from __future__ import annotations

import io

import numpy as np

from fedtiny.data.dataset import Dataset
from sims.glyphs.faces import LETTERS
from sims.glyphs.optional import optional
from sims.glyphs.render import SIDE


def contact_sheet(data: Dataset, rows: int) -> bytes:
    """A PNG file, ``rows`` families high and the alphabet wide; ink is black.

    Args:
        data: what ``make`` wrote.
        rows: families, evenly over the owners.
    """
    owners = np.unique(data.owner)
    shown = owners[np.arange(rows) * len(owners) // rows]
    sheet = np.full((rows * SIDE, len(LETTERS) * SIDE), 255, np.uint8)
    for row, owner in enumerate(shown):
        for label in range(len(LETTERS)):
            first = np.flatnonzero((data.owner == owner) & (data.y == label))[0]
            cell = np.s_[row * SIDE : (row + 1) * SIDE, label * SIDE : (label + 1) * SIDE]
            sheet[cell] = 255 - data.x[first, 0]
    png = io.BytesIO()
    optional("PIL.Image").fromarray(sheet // 16 * 17).save(png, "PNG", optimize=True)
    return png.getvalue()
