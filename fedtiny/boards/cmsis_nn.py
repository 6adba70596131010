"""CMSIS-NN for emulated boards: a user's own tree, or 4.0 from the wheel that carries it.

PyPI's ``bakenn`` 1.0.0, for tests and benchmarks only, vendors 21 of CMSIS-NN 4.0's source files
and their headers: convolutions, fully-connected, pooling. Element-wise addition and softmax are
not among them. Its wheel's sha256:
b8251e71a8fc39252df0d308fe9a5837bd86f7a31f1596a7dd4a319196f30e56
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fedtiny.errors import FedTinyError

WHEEL = "wheel"
"""In place of a directory: the 4.0 of the wheel."""

INSTALL = "pip install --no-deps bakenn==1.0.0"

_USE = "-DFEDTINY_USE_CMSIS_NN"

_TREE_SHA256 = "02cd4893ccada5e881d09852a9177a8296de0e00a122aeff684f02c3bca0fba4"
"""Of all vendored C sources and headers: names and contents, in order of their names."""

_CORE_HEADER = "cmsis_compiler.h"
_CORES = (
    *("../cmsis_core/Include", "../CMSIS/Core/Include", "../CMSIS_6/CMSIS/Core/Include"),
    *("../CMSIS_5/CMSIS/Core/Include", "../Core/Include", "../Core_A/Include"),
)
"""Where CMSIS-Core's headers usually lie, from CMSIS-NN's directory; 4.x needs one of them."""


@dataclass(frozen=True, slots=True)
class CmsisNN:
    """What a build with CMSIS-NN takes.

    Attributes:
        sources: C files of the int8 kernels and what they call.
        include: directories of headers.
        flags: of the compiler.
    """

    sources: tuple[Path, ...]
    include: tuple[Path, ...]
    flags: tuple[str, ...] = (_USE,)


def find(place: str) -> CmsisNN:
    """CMSIS-NN in the directory ``place``, or of the wheel if that is :data:`WHEEL`.

    Raises:
        FedTinyError: as :func:`wheel` or :func:`tree`.
    """
    return wheel() if place == WHEEL else tree(Path(place))


def tree(directory: Path) -> CmsisNN:
    """A CMSIS-NN of the user's, any release.

    Raises:
        FedTinyError: it is no CMSIS-NN, or lacks CMSIS-Core's headers, which 4.x needs.
    """
    directory = directory.resolve()
    header, sources = directory / "Include" / "arm_nnfunctions.h", directory / "Source"
    found = _int8_sources(sources)
    missing = [
        path.relative_to(directory).as_posix()
        for path, there in (
            (header, header.is_file()),
            (sources / "…" / "arm_convolve_wrapper_s8.c", bool(found)),
        )
        if not there
    ]
    if missing:
        raise FedTinyError(
            f"{directory} is no CMSIS-NN: it has no {' and no '.join(missing)}; name the folder "
            "that holds CMSIS-NN's Include and Source"
        )
    return CmsisNN(found, (header.parent, *_core_headers(directory)))


def _int8_sources(directory: Path) -> tuple[Path, ...]:
    """The int8 kernels and support functions; empty if the convolution is not among them.

    Other types take minutes to compile and are never called.
    """
    found = tuple(sorted(path for path in directory.rglob("*.c") if _is_int8(path)))
    has_convolution = any(path.stem == "arm_convolve_wrapper_s8" for path in found)
    return found if has_convolution else ()


def _is_int8(path: Path) -> bool:
    kinds = path.stem.split("_")
    if not {"f16", "f32", "s4"}.isdisjoint(kinds):
        return False
    return path.parent.name == "NNSupportFunctions" or not {"s8", "q7"}.isdisjoint(kinds)


def _core_headers(directory: Path) -> tuple[Path, ...]:
    """CMSIS-Core's headers, if these sources include any."""
    headers = sorted((directory / "Include").rglob("*.h"))
    needed = any(
        f'"{_CORE_HEADER}"' in path.read_text(encoding="utf-8", errors="replace")
        for path in headers
    )
    own = (directory / "Include" / _CORE_HEADER).is_file()
    if not needed or own:
        return ()
    for place in _CORES:
        if (directory / place / _CORE_HEADER).is_file():
            return ((directory / place).resolve(),)
    raise FedTinyError(
        f"{directory} includes CMSIS-Core's {_CORE_HEADER}, which lies in none of "
        f"{', '.join(_CORES)} from there; put CMSIS-Core's headers into one of them"
    )


@cache
def wheel() -> CmsisNN:
    """CMSIS-NN 4.0, vendored.

    Raises:
        FedTinyError: the wheel is not installed, or its files are not those measured here.
    """
    spec = importlib.util.find_spec("bakenn")
    if spec is None or spec.origin is None:
        raise FedTinyError(f"CMSIS-NN's sources are taken from a wheel; install it with: {INSTALL}")
    vendor = Path(spec.origin).parent / "backend" / "cmsis_nn" / "vendor"
    if tree_sha256(vendor) != _TREE_SHA256:
        raise FedTinyError(
            f"the CMSIS-NN sources in {vendor} are not those of bakenn 1.0.0; "
            f"install it again with: {INSTALL}"
        )
    library = tree(vendor / "cmsis_nn")
    flags = (*library.flags, "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY")
    return CmsisNN(library.sources, library.include, flags)


def tree_sha256(vendor: Path) -> str:
    """Digest of the names and contents of all C sources and headers under ``vendor``."""
    digest = hashlib.sha256()
    for path in sorted(p for p in vendor.rglob("*") if p.suffix in (".c", ".h")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(vendor).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
