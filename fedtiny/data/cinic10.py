"""CINIC-10 (Darlow et al. 2018): a folder per part and class, full of 32×32 PNG files."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from fedtiny.data.cifar import CIFAR10_LABELS
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.folders import ending_in
from fedtiny.data.images import RGB, class_names, labelled, missing
from fedtiny.escaping.terminal import Screen

_OTHER_PICTURES = (".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_HOME = (
    "CINIC-10: https://github.com/BayesWatch/cinic-10; unpack it and set path to the folder with "
    "train/ and test/"
)


def read_cinic10(directory: Path, label_names: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    """(training, test): 90 000 images each, (N, 3, 32, 32) uint8, CIFAR-10's classes, no owners.

    ``valid/`` is not read: choosing between models is what the devices' own development sets are
    for. Files go in order of their names, class by class. One image at a time is decoded into
    the array that is returned; on a terminal a bar shows how far it is.

    Args:
        directory: holds train/CLASS/*.png and test/CLASS/*.png.
        label_names: name of each class; empty: the folders'.

    Raises:
        DataError: Pillow is not installed, a folder is missing or empty, or a file is truncated,
            no PNG, of another size, an animation, or transparent.
    """
    names = class_names(label_names, CIFAR10_LABELS)
    pillow = _pillow()
    parts = {part: _files(directory / part) for part in ("train", "test")}
    train, test = (_read(directory / part, files, names, pillow) for part, files in parts.items())
    return train, test


def _pillow() -> ModuleType:
    try:
        from PIL import Image  # noqa: PLC0415 - Pillow is optional
    except ImportError as error:
        raise DataError("source = 'cinic10' needs Pillow: pip install 'fedtiny[data]'") from error
    return Image


def _files(part: Path) -> list[list[Path]]:
    """The images of every class."""
    files, root = [], part.parent
    for name in CIFAR10_LABELS:
        folder = part / name
        if not folder.is_dir():
            raise missing(folder, _HOME)
        others = [path for ending in _OTHER_PICTURES for path in ending_in(folder, ending, root)]
        if others:
            raise bad_file(others[0], "is no PNG file, and would be left out: convert or move it")
        files.append(ending_in(folder, ".png", root))
        if not files[-1]:
            raise bad_file(folder, "no PNG file in it; unpack CINIC-10 again")
    return files


def _read(
    part: Path, files: list[list[Path]], names: tuple[str, ...], pillow: ModuleType
) -> Dataset:
    paths = [path for of_class in files for path in of_class]
    images = np.empty((len(paths), 3, 32, 32), np.uint8)
    console = Screen(stderr=True)
    listed = track(
        paths,
        f"reading CINIC-10 {part.name}",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for row, path in enumerate(listed):
        images[row] = _pixels(path, pillow).transpose(2, 0, 1)
    y = np.repeat(np.arange(len(files)), [len(of_class) for of_class in files])
    return labelled(part, images, y, names, RGB)


def _pixels(path: Path, pillow: ModuleType) -> npt.NDArray[np.uint8]:
    """(32, 32, 3); grey images become colour images of equal channels."""
    try:
        with pillow.open(path, formats=("PNG",)) as image:
            if image.size != (32, 32):
                size = "×".join(map(str, image.size))
                raise bad_file(path, f"is {size} pixels, expected 32×32")
            if getattr(image, "n_frames", 1) > 1:
                raise bad_file(path, "is an animation; keep one picture of it")
            return _colours(path, image)
    except DataError:
        raise
    except Exception as error:  # damage leads to errors of every kind
        raise bad_file(path, f"truncated, or not a PNG image: {error!s:.300}") from error


def _colours(path: Path, image: Any) -> npt.NDArray[np.uint8]:  # noqa: ANN401 - Pillow is optional
    """Every level is kept: 16-bit grey is scaled, palettes are looked up, nothing shines through.

    Pillow itself scales 16-bit colours, and grey of 1, 2 and 4 bits.
    """
    if image.mode.startswith("I"):  # 16-bit grey, which conversion would cut off at 255
        grey = (np.asarray(image).astype(np.int64) * 255 + 32767) // 65535
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[:, :, 3].min() < 255:
            raise bad_file(path, "has transparent pixels; put the picture on a background")
        return np.ascontiguousarray(rgba[:, :, :3])
    return np.asarray(image.convert("RGB"))
