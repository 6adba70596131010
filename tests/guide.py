"""What ``clients/README.md`` tells its reader to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "clients/README.md"
TEXT = GUIDE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
INLINE = re.findall(r"`((?:python -m sims\.deploy|fedtiny) [a-z][^`]*)`", TEXT)
LINES = [*"".join(BLOCKS).splitlines(), *INLINE]

FIRST = [shlex.split(line) for line in BLOCKS[0].splitlines()]
"""The commands of "First on one machine", in words; their folder is ``try``."""


def block_with(text: str) -> str:
    """The only block that has ``text`` in it."""
    (found,) = [block for block in BLOCKS if text in block]
    return str(found)
