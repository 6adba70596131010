"""Data sets as they are published, by the name that ``data.source`` gives them.

To add one: a file with its reader, and its line in :data:`PUBLISHED`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from fedtiny.data.cifar import read_cifar10, read_cifar100
from fedtiny.data.cinic10 import read_cinic10
from fedtiny.data.csv_images import read_csv_directory
from fedtiny.data.dataset import Dataset
from fedtiny.data.idx import read_idx_directory
from fedtiny.data.svhn import read_svhn

Reader = Callable[[Path, tuple[str, ...]], tuple[Dataset, Dataset]]
"""``(directory, label names) -> (training, test)``; no label names: the data set's own."""

PUBLISHED: Mapping[str, Reader] = {
    "idx": read_idx_directory,
    "csv": read_csv_directory,
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "svhn": read_svhn,
    "cinic10": read_cinic10,
}
