"""What type checkers see of ``__init__.py``, which imports lazily."""

from fedtiny.config.run import RunConfig as RunConfig
from fedtiny.data.dataset import Dataset as Dataset
from fedtiny.data.statistics import Normalization as Normalization
from fedtiny.errors import FedTinyError as FedTinyError
from fedtiny.firmware.loaded import LoadedModel as LoadedModel
from fedtiny.firmware.planner import Target as Target
from fedtiny.methods.method import Method as Method
from fedtiny.models.graph import Graph as Graph
from fedtiny.models.sparse_model import SparseModel as SparseModel
from fedtiny.quant.integer_model import IntegerGraph as IntegerGraph
from fedtiny.quant.ptq import quantize as quantize
from fedtiny.runs.folder import RunFolder as RunFolder
from fedtiny.runs.trained_model import TrainedModel as TrainedModel
from fedtiny.sparse.tensor import Mask as Mask
from fedtiny.sparse.tensor import SparseTensor as SparseTensor

__version__: str
