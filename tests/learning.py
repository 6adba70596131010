"""A project that learns, called from Python: what a program on the device would call."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.bench import synthetic
from fedtiny.data.dataset import SensorSpec
from fedtiny.firmware.side_net import SideNet
from fedtiny.models import build
from fedtiny.models.ops import INPUT
from fedtiny.runs.trained_model import TrainedModel


def model_objects(project: Path) -> list[Path]:
    """What ``make`` compiled of a project, its self-tests apart."""
    programs = ("main.o", "learn_main.o")
    found = [path for path in (project / "build").rglob("*.o") if path.name not in programs]
    return [path for path in found if "sanitize" not in path.parts]


def trained_model(name, shape, classes, density=0.05, seed=0):
    """Random weights and ranges, as ``synthetic.integer_model``."""
    graph = build(name, shape, classes)
    return TrainedModel(
        graph,
        synthetic.float_model(graph, density, seed),
        synthetic.normalization(shape[0]),
        {INPUT: (-3.0, 3.0), **{node.name: (-2.0, 4.0) for node in graph.nodes}},
        tuple(f"class {i}" for i in range(classes)),
        SensorSpec(tuple(f"c{i}" for i in range(shape[0])), ("g",) * shape[0], (1.0,) * shape[0]),
    )


@dataclass(frozen=True)
class Slot:
    """``model_learned``, as bytes of memory that are aligned as a float is."""

    memory: np.ndarray

    @classmethod
    def of(cls, content: bytes) -> Slot:
        return cls(np.frombuffer(content, np.uint32).copy())

    @property
    def content(self) -> bytes:
        return self.memory.tobytes()

    @property
    def address(self) -> int:
        return self.memory.ctypes.data


class Device:
    """A project compiled by ``make``, and one learner."""

    def __init__(self, project: Path, side: SideNet, arena_bytes: int, directory: Path) -> None:
        objects = model_objects(project)
        library = directory / "learn.so"
        command = ["gcc", "-shared", "-Wl,-Bsymbolic", *map(str, objects), "-lm", "-o", library]
        subprocess.run(command, check=True)
        self.c = ctypes.CDLL(str(library))
        self.c.model_learn_newest.restype = ctypes.c_void_p
        self.c.model_learn_newest.argtypes = [ctypes.c_void_p] * 2
        self.side = side
        self.words = np.zeros(side.learner_bytes // 4, np.uint32)
        self._memory = np.zeros(arena_bytes + 8, np.int8)
        start = -self._memory.ctypes.data % 8
        self.arena = self._memory[start:][:arena_bytes]

    def _floats(self, part: int) -> np.ndarray:
        """Parameters, gradients, first or second moments: parts 0 to 3."""
        n = self.side.parameters
        first = 3 if part == 0 else 4 + part * n
        return self.words[first:][:n].view(np.float32)

    @property
    def values(self) -> np.ndarray:
        return self._floats(0)

    @property
    def gradients(self) -> np.ndarray:
        return self._floats(1)

    @property
    def rate(self) -> np.ndarray:
        return self.words[4 + 4 * self.side.parameters :][:1].view(np.float32)

    @property
    def windows(self) -> int:
        return int(self.words[8 + 4 * self.side.parameters])

    @property
    def learner(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.words.ctypes.data)

    @property
    def slot(self) -> bytes:
        return self.words.tobytes()[: self.side.slot_bytes]

    @property
    def start(self) -> int:
        return ctypes.addressof(ctypes.c_char.in_dll(self.c, "model_learn_start"))

    def newest(self, a: Slot | None, b: Slot | None) -> int | None:
        found: int | None = self.c.model_learn_newest(a and a.address, b and b.address)
        return found

    def begin(self, address: int | None) -> int:
        return int(self.c.model_learn_begin(self.learner, ctypes.c_void_p(address)))

    def learn(self, counts: np.ndarray, label: int) -> int:
        window = np.ascontiguousarray(counts.transpose(1, 2, 0))
        pointers = ctypes.c_void_p(window.ctypes.data), ctypes.c_void_p(self.arena.ctypes.data)
        return int(self.c.model_learn(self.learner, pointers[0], label, pointers[1]))

    def update(self) -> int:
        return int(self.c.model_learn_update(self.learner))

    def seal(self, a: Slot | None, b: Slot | None) -> int:
        slots = (ctypes.c_void_p(one and one.address) for one in (a, b))
        return int(self.c.model_learn_seal(self.learner, *slots))

    def classify(self, counts: np.ndarray) -> int:
        window = np.ascontiguousarray(counts.transpose(1, 2, 0))
        pointers = ctypes.c_void_p(window.ctypes.data), ctypes.c_void_p(self.arena.ctypes.data)
        return int(self.c.model_learn_classify(self.learner, *pointers))
