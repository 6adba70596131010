"""Which code is at work: digests of our packages, and of the user's own files."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import util
from pathlib import Path

import fedtiny

_SHELLS = ("clients", "strategies", "sims")
_ENDINGS = (".py", ".c", ".h", ".cpp", ".S", ".ld", ".jinja", ".toml", ".json", ".npz")


@cache
def digests() -> dict[str, str]:
    """SHA-256 of the sources by package: the library's, and the shells' of its checkout."""
    library = Path(fedtiny.__file__).parent
    shells = [library.parent / name for name in _SHELLS]
    found = [one for one in shells if (one / "__init__.py").is_file()]
    return {one.name: of_folder(one) for one in (library, *found)}


def of_folder(folder: Path) -> str:
    """SHA-256 of a package's sources, of their names and contents."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in _ENDINGS and path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            total.update(of_file(path).encode())
    return total.hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def module_file(module: str) -> Path | None:
    """Where an importable module of the user lies; its folder if it is a package."""
    try:
        spec = util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    path = Path(spec.origin).absolute()
    return path.parent if path.name == "__init__.py" else path


def root_of(module: str, path: Path) -> Path:
    """The folder from which ``module``, lying at ``path``, is imported."""
    return path.parents[module.count(".")]
