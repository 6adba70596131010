"""Which file it was that was read: a file that was replaced or written to is another one."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file as a look at its directory shows it.

    Attributes:
        path: of the file.
        size: bytes.
        modified_ns: when it was last written to; no two versions of a file share it and the size.
    """

    path: Path
    size: int
    modified_ns: int


def identity_of(path: Path) -> FileIdentity | None:
    """The file at ``path`` now; ``None`` if there is none that could be looked at."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return None
    return FileIdentity(path, seen.st_size, seen.st_mtime_ns)
