"""Sizes of compiled code, read from ELF files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

_WRITE, _ALLOC, _EXECUTE = 0x1, 0x2, 0x4


@dataclass(frozen=True, slots=True)
class ElfSizes:
    """Bytes by where they end up on a microcontroller.

    Attributes:
        code_bytes: machine code (flash).
        constant_bytes: read-only data (flash).
        data_bytes: initialised variables (flash and RAM).
        bss_bytes: zero-initialised variables (RAM).
    """

    code_bytes: int = 0
    constant_bytes: int = 0
    data_bytes: int = 0
    bss_bytes: int = 0

    @property
    def text_bytes(self) -> int:
        """Code and constants, as ``size`` counts them."""
        return self.code_bytes + self.constant_bytes

    def __add__(self, other: ElfSizes) -> ElfSizes:
        return ElfSizes(
            self.code_bytes + other.code_bytes,
            self.constant_bytes + other.constant_bytes,
            self.data_bytes + other.data_bytes,
            self.bss_bytes + other.bss_bytes,
        )


@dataclass(frozen=True, slots=True)
class Symbol:
    """One function or variable: its name, the section it lies in, and its bytes."""

    name: str
    section: str
    nbytes: int


def sizes(paths: Iterable[Path]) -> ElfSizes:
    """Sum over object files or executables.

    Unwind tables (``.eh_frame``), which firmware builds drop, are not counted. Initialised data
    that is constant but for relocation (``.data.rel.ro``) counts as constant: without
    position-independent code it is.
    """
    return sum((_file_sizes(path) for path in paths), ElfSizes())


def _file_sizes(path: Path) -> ElfSizes:
    total = ElfSizes()
    with path.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            flags, nbytes = section["sh_flags"], section["sh_size"]
            if not flags & _ALLOC or section.name.startswith((".eh_frame", ".note")):
                continue
            if flags & _EXECUTE:
                total += ElfSizes(code_bytes=nbytes)
            elif section["sh_type"] == "SHT_NOBITS":
                total += ElfSizes(bss_bytes=nbytes)
            elif flags & _WRITE and not section.name.startswith(".data.rel.ro"):
                total += ElfSizes(data_bytes=nbytes)
            else:
                total += ElfSizes(constant_bytes=nbytes)
    return total


def needed(roots: Iterable[Path], objects: Iterable[Path]) -> tuple[Path, ...]:
    """The roots and those objects that a linker takes of a library for them, sorted.

    Args:
        roots: object files that are linked in any case.
        objects: the library's members; one is taken if it defines what another needs.
    """
    names = {path: _names(path) for path in (*roots, *objects)}
    taken, waiting = set(), list(roots)
    while waiting:
        path = waiting.pop()
        taken.add(path)
        wanted = names[path][1]
        waiting += [p for p, (own, _) in names.items() if p not in taken and own & wanted]
    return tuple(sorted(taken))


def _names(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Global names that an object file defines, and that it needs."""
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        found = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
    shared = [symbol for symbol in found if symbol["st_info"]["bind"] != "STB_LOCAL"]
    own = frozenset(s.name for s in shared if s["st_shndx"] != "SHN_UNDEF")
    return own, frozenset(s.name for s in shared) - own


def symbols(path: Path) -> tuple[Symbol, ...]:
    """Functions and variables of an executable that take room, largest first."""
    with path.open("rb") as stream:
        file = ELFFile(stream)
        names = [section.name for section in file.iter_sections()]
        table = file.get_section_by_name(".symtab")
        found = {
            Symbol(symbol.name, names[symbol["st_shndx"]], symbol["st_size"])
            for symbol in (table.iter_symbols() if isinstance(table, SymbolTableSection) else ())
            if symbol["st_size"] > 0 and isinstance(symbol["st_shndx"], int)
        }
    return tuple(sorted(found, key=lambda s: (-s.nbytes, s.name, s.section)))
