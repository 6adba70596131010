"""Pictures to JPEG files on an emulated board by libjpeg-turbo: what an encoder competes with.

The library is no part of this project: its source tree is the user's, e.g. by ``apt-get source
libjpeg-turbo``. Compiled in plain C, as its own build does for a core without SIMD of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from fedtiny.boards import qemu
from fedtiny.codecs.native import SOURCES
from fedtiny.errors import FedTinyError

PROGRAM = Path(__file__).parent / "programs" / "jpeg.c"

_FILES = (
    *("jcapimin", "jcapistd", "jccoefct", "jccolor", "jcdctmgr", "jchuff", "jcicc", "jcinit"),
    *("jcmainct", "jcmarker", "jcmaster", "jcomapi", "jcparam", "jcphuff", "jcprepct", "jcsample"),
    *("jctrans", "jdatadst", "jerror", "jfdctflt", "jfdctfst", "jfdctint", "jutils", "jmemmgr"),
    *("jmemnobs", "jsimd_none"),
)
"""Of libjpeg-turbo 2.1: all that a compressor is linked from."""

_CONFIG = """#define JPEG_LIB_VERSION 62
#define LIBJPEG_TURBO_VERSION 2.1
#define LIBJPEG_TURBO_VERSION_NUMBER 2001000
#define MEM_SRCDST_SUPPORTED 1
#define BITS_IN_JSAMPLE 8
"""
_INTERNAL = """#define BUILD ""
#undef inline
#define INLINE inline
#define THREAD_LOCAL
#define PACKAGE_NAME "libjpeg-turbo"
#define VERSION "2.1"
#define SIZEOF_SIZE_T 4
#define HAVE_BUILTIN_CTZL
#define FALLTHROUGH __attribute__((fallthrough));
"""
"""What its build finds out about a Cortex-M with newlib."""


class Transform(StrEnum):
    """libjpeg's forward DCT."""

    SLOW = "JDCT_ISLOW"
    """Its default."""

    FAST = "JDCT_IFAST"


@dataclass(frozen=True, slots=True)
class Compressed:
    """One picture.

    Attributes:
        size, crc16: of the file.
        instructions: from pixels to the file; the compressor was made before.
    """

    size: int
    crc16: int
    instructions: int


def compress(
    target: qemu.Machine,
    library: Path,
    x: np.ndarray,
    quality: int,
    directory: Path,
    transform: Transform = Transform.SLOW,
    tables: bool = True,
) -> tuple[Compressed, ...]:
    """Each picture of uint8 (N, 1, H, W), N ≤ 64, as a grey JPEG.

    Args:
        target: the machine.
        library: source tree of libjpeg-turbo 2.1.
        x: pictures.
        quality: 1 to 100.
        directory: where files go.
        transform: what the library is told to use.
        tables: whether they are in the file; without them both ends must hold them.

    Raises:
        FedTinyError: no such tree, or other output than results.
        ToolchainError: the build fails or the program faults.
    """
    missing = [name for name in _FILES if not (library / f"{name}.c").is_file()]
    if missing:
        raise FedTinyError(
            f"{library}: {missing[0]}.c is missing; give the source tree of libjpeg-turbo 2.1, "
            "e.g. of `apt-get source libjpeg-turbo` on Debian 12"
        )
    directory.mkdir(parents=True, exist_ok=True)
    _configure(library, directory)
    height, width = x.shape[2:]
    program = qemu.build(
        target,
        [PROGRAM, SOURCES / "fedtiny_blocks.c", *(library / f"{name}.c" for name in _FILES)],
        directory,
        include=(directory, library, SOURCES),
        flags=(
            *("-w", "-include", "errno.h", "-DNO_GETENV", "-DNO_PUTENV"),
            *(f"-DJPEG_HEIGHT={height}", f"-DJPEG_WIDTH={width}", f"-DJPEG_QUALITY={quality}"),
            *(f"-DJPEG_DCT={transform.value}", f"-DJPEG_TABLES={int(tables)}"),
        ),
        libraries=("--specs=nosys.specs",),
    )
    (directory / "pictures.bin").write_bytes(np.ascontiguousarray(x[:, 0]).tobytes())
    lines = qemu.run(target, program, directory).splitlines()
    if len(lines) != len(x):
        raise FedTinyError(f"the board compressed {len(lines)} of {len(x)} pictures:\n{lines}")
    return tuple(_compressed(line, target.tick_ns) for line in lines)


def _configure(library: Path, directory: Path) -> None:
    """The headers that its own build would write."""
    (directory / "jconfig.h").write_text(_CONFIG, encoding="utf-8")
    (directory / "jconfigint.h").write_text(_INTERNAL, encoding="utf-8")
    text = (library / "jversion.h.in").read_text(encoding="utf-8")
    (directory / "jversion.h").write_text(re.sub("@[A-Z_]*@", "", text), encoding="utf-8")


def _compressed(line: str, tick_ns: float) -> Compressed:
    size, crc, ticks = map(int, line.split())
    return Compressed(size, crc, round(ticks * tick_ns))
