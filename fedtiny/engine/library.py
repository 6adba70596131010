"""The compiled library: loading it, which instruction sets it has here, running programs."""

from __future__ import annotations

import ctypes
from functools import cache
from itertools import zip_longest
from pathlib import Path

from fedtiny.engine import abi
from fedtiny.engine.build import LIBRARY, source_hash
from fedtiny.errors import FedTinyError

REBUILD = "compile it: python -m fedtiny.engine"


class EngineError(FedTinyError):
    """The sparse engine cannot do what was asked; the message says why and what to do."""


class Library:
    """One loaded shared library.

    Attributes:
        real_bytes: 4 (product) or 8 (the float64 build of the same kernels, for proof).
        instruction_sets: names of those this machine can run, widest first.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._dll = ctypes.CDLL(str(path))
        except OSError as error:
            raise EngineError(f"cannot load {path.name}: {error}; {REBUILD}") from error
        self._declare()
        if self._dll.fedtiny_source_hash().decode() != source_hash():
            raise EngineError(f"{path.name} is older than its sources; {REBUILD}")
        self._check_mirror(path.name)
        self.real_bytes = int(self._dll.fedtiny_real_bytes())
        self._sets = self._present_sets()
        self.instruction_sets = tuple(self._sets)

    def _declare(self) -> None:
        dll, integer, address = self._dll, ctypes.c_int64, ctypes.c_void_p
        dll.fedtiny_mirror.argtypes, dll.fedtiny_mirror.restype = [integer], ctypes.c_char_p
        dll.fedtiny_real_bytes.restype = integer
        dll.fedtiny_source_hash.restype = ctypes.c_char_p
        dll.fedtiny_set.argtypes = [integer, ctypes.POINTER(integer)]
        dll.fedtiny_set.restype = ctypes.c_char_p
        dll.fedtiny_pool.argtypes, dll.fedtiny_pool.restype = [integer], address
        dll.fedtiny_pool_free.argtypes, dll.fedtiny_pool_free.restype = [address], None
        dll.fedtiny_run.argtypes, dll.fedtiny_run.restype = [integer, address], None
        dll.fedtiny_sgd.argtypes, dll.fedtiny_sgd.restype = [integer, address], None
        dll.fedtiny_adam.argtypes, dll.fedtiny_adam.restype = [integer, address], None

    def _check_mirror(self, file: str) -> None:
        """Structures and enums must be those of abi.py, field by field."""
        for index, kind in enumerate(abi.MIRRORED):
            name, *theirs = (self._dll.fedtiny_mirror(index) or b"nothing").decode().split()
            for their, our in zip_longest([name, *theirs], [kind.__name__, *abi.mirror(kind)]):
                if their != our:
                    raise EngineError(
                        f"{file}: in {kind.__name__}, engine.h has {their or 'no more'} where "
                        f"abi.py has {our or 'no more'}; make them agree, then {REBUILD}"
                    )

    def _present_sets(self) -> dict[str, int]:
        sets: dict[str, int] = {}
        present, index = ctypes.c_int64(), 0
        while name := self._dll.fedtiny_set(index, ctypes.byref(present)):
            if present.value:
                sets[name.decode()] = index
            index += 1
        return sets

    def set_index(self, name: str | None) -> int:
        """Index of instruction set ``name``; None is the widest this machine has."""
        if name is None:
            return self._sets[self.instruction_sets[0]]
        if name not in self._sets:
            known = ", ".join(self.instruction_sets)
            raise EngineError(
                f"instruction set {name!r} is not available here; choose from {known}"
            )
        return self._sets[name]

    def limit(self, name: str) -> None:
        """Forget the instruction sets that are wider than ``name``, one of those present."""
        self.instruction_sets = self.instruction_sets[self.instruction_sets.index(name) :]

    def run(self, set_index: int, run: abi.Run) -> None:
        """Execute a program."""
        self._dll.fedtiny_run(set_index, ctypes.addressof(run))

    def sgd(self, set_index: int, step: abi.Sgd) -> None:
        """One optimizer step."""
        self._dll.fedtiny_sgd(set_index, ctypes.addressof(step))

    def adam(self, set_index: int, step: abi.Adam) -> None:
        """One step of Adam."""
        self._dll.fedtiny_adam(set_index, ctypes.addressof(step))

    def pool(self, threads: int) -> int:
        """A handle of ``threads`` worker threads; free it with :meth:`free_pool`."""
        return int(self._dll.fedtiny_pool(threads))

    def free_pool(self, pool: int) -> None:
        """Join the workers of ``pool``."""
        self._dll.fedtiny_pool_free(pool)


@cache
def load(path: Path | None = None) -> Library:
    """The product library, or the one at ``path``.

    Raises:
        EngineError: it was not built, or does not load.
    """
    path = path or Path(__file__).parent / LIBRARY
    if not path.exists():
        raise EngineError(
            "the sparse engine was not compiled (no C++ compiler when the package was built?); "
            f"install g++, then {REBUILD}"
        )
    return Library(path)


@cache
def unavailable_reason() -> str | None:
    """Why the engine cannot run here, or None if it can."""
    try:
        load()
    except EngineError as error:
        return str(error)
    return None


def available() -> bool:
    """Whether the compiled engine can run here; see :func:`unavailable_reason`."""
    return unavailable_reason() is None
