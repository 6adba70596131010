"""Fixtures many tests share."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from fedtiny.config import RunConfig, load
from fedtiny.engine import library
from fedtiny.engine.build import build as compile_engine
from fedtiny.engine.build import source_hash
from fedtiny.node import limits

for name in ("COLUMNS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)  # of the terminal or the make that the suite is started from

settings.register_profile("repeatable", derandomize=True)  # a gate that draws is none
settings.register_profile("new examples")
settings.load_profile(os.environ.get("FEDTINY_HYPOTHESIS", "repeatable"))

COMPILERS = ("cc", "gcc", "c++", "g++", "arm-none-eabi-gcc", "aarch64-linux-gnu-g++")

DEMO = Path(__file__).parents[1] / "sims/configs/demo.toml"

TINY = (
    "dense_reference=false",
    "export.enabled=false",
    "federation.rounds=2",
    "training.epochs=1",
    "pretraining.epochs=2",
    "pruning.candidates=2",
    "pruning.interval=1",
    "pruning.stop=2",
)


@pytest.fixture
def flower_app(tmp_path: Path) -> Path:
    """The app's own files, and some that are none of it, in a folder that Flower takes.

    It takes the folder's name for the app's: a checkout may have one with an underscore.
    """
    root, app = Path(__file__).parents[1], tmp_path / "fedtiny"
    app.mkdir()
    for name in ("clients", "strategies", "sims"):
        shutil.copytree(root / name, app / name)
    for name in ("fedtiny", "tests", "docs"):
        (app / name).mkdir()
        (app / name / "other.py").write_text("", encoding="utf-8")
    for name in ("pyproject.toml", "LICENSE", ".gitignore"):
        shutil.copy(root / name, app / name)
    return app


@pytest.fixture(scope="session", autouse=True)
def standing() -> Iterator[None]:
    """Tests that play a device within its budget do not make the suite itself the process that the
    kernel ends first: without privileges nothing takes that back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "be_the_victim", lambda: None)
        yield


CCACHE_MEGABYTES = 500
"""More than one run of everything needs."""


@pytest.fixture(scope="session", autouse=True)
def compilers(pytestconfig: pytest.Config) -> Iterator[None]:
    """Each compiler by way of ccache, where that is installed: the same source is compiled once.

    It is asked by wrappers in front of the PATH, because the compilers of :mod:`fedtiny.toolchain`
    see nothing else of the environment.
    """
    ccache, cache = shutil.which("ccache"), getattr(pytestconfig, "cache", None)
    if ccache is None or cache is None:  # or none is wanted: -p no:cacheprovider
        yield
        return
    kept = cache.mkdir("compiled")
    wrappers = kept / "bin"
    wrappers.mkdir(exist_ok=True)
    settings = f"CCACHE_DIR='{kept}' CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE={CCACHE_MEGABYTES}M"
    for name in COMPILERS:
        if real := shutil.which(name):
            text = f"#!/bin/sh\n{settings} exec '{ccache}' '{real}' \"$@\"\n"
            beside = wrappers / f".{name}.{os.getpid()}"
            beside.write_text(text, encoding="utf-8")
            beside.chmod(0o755)
            beside.replace(wrappers / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{wrappers}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.fixture(scope="session")
def lib64(pytestconfig: pytest.Config, compilers: None) -> library.Library:
    """The float64 build of the same kernel sources, kept until they change.

    Not optimised: it is compiled in a third of the time, and computes the same.
    """
    folder = pytestconfig.cache.mkdir("engine")
    path = folder / f"engine64_{source_hash()}_O0.so"
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker may be at it
        if not path.exists():
            compile_engine(path, real="double", extra=("-O0",))
    return library.load(path)


@pytest.fixture
def assume_identity() -> None:
    """Let the test create Flower messages."""
    from sims.grids.identity import assume_identity

    assume_identity()


@pytest.fixture
def demo_config() -> Path:
    """The demo's TOML file."""
    return DEMO


@pytest.fixture
def tiny_overrides() -> list[str]:
    """What makes the demo a run of seconds that still has every phase."""
    return list(TINY)


@pytest.fixture
def tiny_config() -> Callable[..., RunConfig]:
    """A factory: the demo cut down to seconds, with further ``section.key=value`` overrides."""

    def make(*overrides: str) -> RunConfig:
        return load(DEMO, [*TINY, *overrides])

    return make


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what Python 2 wrote: strings and bytes are one type, without an encoding."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]  # noqa: RUF012

    def save_string(self, text: str | bytes) -> None:
        raw = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def _cifar(folder: Path, parts: dict[str, tuple[Any, Any]], classes: int, binary: bool) -> None:
    label_key = "labels" if classes == 10 else "fine_labels"
    for name, (x, y) in parts.items():
        rows = x.reshape(len(x), 3072)
        if binary:
            coarse = [] if classes == 10 else [y % 20]
            records = np.column_stack([*coarse, y, rows]).astype(np.uint8)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
            continue
        batch = {"batch_label": name, "data": rows, label_key: y.tolist()}
        file = io.BytesIO()
        Python2Pickler(file, protocol=2).dump(batch)
        # The published batches were written by a numpy 1.
        raw = file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        (folder / name).write_bytes(raw)


def _svhn(folder: Path, parts: dict[str, tuple[Any, Any]]) -> None:
    from scipy.io import savemat

    for name, (x, y) in parts.items():
        content = {"X": x.transpose(2, 3, 1, 0), "y": np.where(y == 0, 10, y)[:, None]}
        savemat(folder / f"{name}_32x32.mat", content, do_compression=True)


def _cinic10(folder: Path, parts: dict[str, tuple[Any, Any]]) -> None:
    from PIL import Image

    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    for part, (x, y) in parts.items():
        for row, (image, label) in enumerate(zip(x, y, strict=True)):
            home = folder / part / names[label]
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(home / f"{row:05}.png")


def _csv(folder: Path, parts: dict[str, tuple[Any, Any]], header: bool) -> None:
    for name, (x, y) in parts.items():
        with (folder / f"mnist_{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if header:
                writer.writerow(["label", *(f"pixel{i}" for i in range(784))])
            writer.writerows([label, *image.ravel()] for label, image in zip(y, x, strict=True))


Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def write_published() -> Callable[..., tuple[Arrays, Arrays]]:
    """A factory of tiny data sets, written as the big ones are published.

    ``write(source, folder, per_class=, python=, header=)`` gives ((train x, y), (test x, y)):
    random uint8 images whose classes are told apart by their brightness, in any order.
    """

    def write(
        source: str,
        folder: Path,
        per_class: int = 5,
        python: bool = False,
        header: bool = False,
    ) -> tuple[Arrays, Arrays]:
        folder.mkdir(parents=True, exist_ok=True)
        classes = 100 if source == "cifar100" else 10
        shape = (1, 28, 28) if source == "csv" else (3, 32, 32)
        generator = np.random.default_rng(0)

        def draw(count: int) -> Arrays:
            y = generator.permutation(np.arange(count) % classes)
            if source == "cinic10":
                y.sort()
            noise = generator.integers(0, 56, (count, *shape))
            return (noise + (y * 200 // classes)[:, None, None, None]).astype(np.uint8), y

        train, test = draw(per_class * classes), draw(2 * classes)
        pieces = zip(np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True)
        match source:
            case "cifar10":
                batches = {f"data_batch_{i}": piece for i, piece in enumerate(pieces, start=1)}
                _cifar(folder, {**batches, "test_batch": test}, classes, not python)
            case "cifar100":
                _cifar(folder, {"train": train, "test": test}, classes, not python)
            case "svhn":
                _svhn(folder, {"train": train, "test": test})
            case "cinic10":
                _cinic10(folder, {"train": train, "test": test})
            case "csv":
                _csv(folder, {"train": train, "test": test}, header)
        return train, test

    return write
