"""What the server may hold: public samples, and people who take no part."""

from dataclasses import dataclass
from pathlib import Path

from fedtiny.data import shares
from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset, SensorSpec


@dataclass(frozen=True)
class ServerData:
    """The server's two sets; no device holds a sample of them.

    Attributes:
        public: to pre-train on, taken from the training pool and from no device.
        unseen: people who took no part, or the source's own test set.
    """

    public: Dataset
    unseen: Dataset

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each class."""
        return self.public.labels

    @property
    def sensor(self) -> SensorSpec:
        """What the channels of a sample mean."""
        return self.public.sensor

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample."""
        return self.public.input_shape


def load_server(folder: Path, config: DataConfig, seed: int) -> ServerData:
    """Read the server's own file, ``server.npz``, and no other.

    Args:
        folder: of the shares, see :mod:`fedtiny.data.shares`.
        config: the data settings.
        seed: the run's seed.

    Raises:
        DataError: the file, named with the reason: missing, damaged, or of another deal.
    """
    path = shares.server_file(folder)
    arrays = shares.read(path)
    shares.check_origin(path, arrays, shares.SERVER, config, seed)
    return ServerData(**shares.views(path, arrays, ("public", "unseen"), config.label_names))
