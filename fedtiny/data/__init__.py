"""Where samples come from, and who may read which: the server, one client, a simulation."""

from fedtiny.data.batches import batches
from fedtiny.data.client import ClientData, load_client
from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset, SensorSpec, concatenate
from fedtiny.data.errors import DataError
from fedtiny.data.server import ServerData, load_server
from fedtiny.data.statistics import InputStatistics, Normalization, merge

__all__ = [
    "ClientData",
    "DataConfig",
    "DataError",
    "Dataset",
    "InputStatistics",
    "Normalization",
    "SensorSpec",
    "ServerData",
    "batches",
    "concatenate",
    "load_client",
    "load_server",
    "merge",
]
