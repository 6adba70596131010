"""FedTiny: federated learning for devices too small to hold the model they are training.

The package is pure: arrays in, arrays out. It never imports Flower or Ray; the shells in
``clients/``, ``strategies/`` and ``sims/`` do.

The names below are imported when they are first used, so that a device pays for none of them.

>>> import fedtiny
>>> fedtiny.RunConfig(seed=3).seed
3
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "fedtiny.data.dataset",
    "FedTinyError": "fedtiny.errors",
    "Graph": "fedtiny.models.graph",
    "IntegerGraph": "fedtiny.quant.integer_model",
    "LoadedModel": "fedtiny.firmware.loaded",
    "Mask": "fedtiny.sparse.tensor",
    "Method": "fedtiny.methods.method",
    "Normalization": "fedtiny.data.statistics",
    "RunConfig": "fedtiny.config.run",
    "RunFolder": "fedtiny.runs.folder",
    "SparseModel": "fedtiny.models.sparse_model",
    "SparseTensor": "fedtiny.sparse.tensor",
    "Target": "fedtiny.firmware.planner",
    "TrainedModel": "fedtiny.runs.trained_model",
    "quantize": "fedtiny.quant.ptq",
}
"""Module of every public name; __init__.pyi says the same to type checkers."""

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fedtiny' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
