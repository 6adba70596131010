"""CINIC-10 (Darlow et al. 2018): a folder per part and class, full of 32×32 PNG files."""

from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from fedtiny.data.cifar import CIFAR10_LABELS
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.images import RGB, class_names, labelled, missing

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
            no image, or of another size.
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
    files = []
    for name in CIFAR10_LABELS:
        folder = part / name
        if not folder.is_dir():
            raise missing(folder, _HOME)
        files.append(sorted(folder.glob("*.png")))
        if not files[-1]:
            raise bad_file(folder, "no PNG file in it; unpack CINIC-10 again")
    return files


def _read(
    part: Path, files: list[list[Path]], names: tuple[str, ...], pillow: ModuleType
) -> Dataset:
    paths = [path for of_class in files for path in of_class]
    images = np.empty((len(paths), 3, 32, 32), np.uint8)
    console = Console(stderr=True)
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
    """(32, 32, 3); a few of the images are grey, and become colour images of equal channels."""
    try:
        with pillow.open(path, formats=("PNG",)) as image:
            size = image.size
            if size == (32, 32):
                return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise bad_file(path, f"truncated, or not a PNG image: {error}") from error
    raise bad_file(path, f"is {size[0]}×{size[1]} pixels, expected 32×32")
