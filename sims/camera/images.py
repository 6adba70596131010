"""The images that scenes are pasted from."""

from __future__ import annotations

from fedtiny.data.dataset import Dataset
from fedtiny.data.idx import read_idx_directory
from fedtiny.errors import FedTinyError
from fedtiny.runs.folder import RunFolder


def images_of(folder: RunFolder, labels: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    """(training, test) images of a run's own source, which must be Fashion-MNIST's files.

    Raises:
        FedTinyError: the run's source is another one.
    """
    data = folder.load_config().data
    if data.source != "idx" or data.path is None:
        raise FedTinyError(
            f"the camera's scenes need Fashion-MNIST, this run's data.source is {data.source!r}; "
            "make one with sims/configs/camera.toml"
        )
    return read_idx_directory(data.path, labels)
