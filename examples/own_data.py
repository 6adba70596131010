"""Bring your own data and model: this file is the whole of it (and runs as a test)."""

from pathlib import Path

import numpy as np

from fedtiny.config import RunConfig, parse
from fedtiny.models import register
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool, Shape


def my_model(input_shape: Shape, classes: int) -> Graph:
    """Two convolutions over a 1-D signal."""
    stem = Conv("stem", INPUT, input_shape[0], 8, (1, 5), padding=(0, 2), prunable=False)
    body = Conv("body", "stem", 8, 16, (1, 5), stride=(1, 2), padding=(0, 2))
    classifier = Linear("classifier", "pool", 16, classes, prunable=False)
    return Graph("mine", input_shape, (stem, body, Pool("pool", "body"), classifier))


register("mine", my_model)


def my_run(folder: Path) -> RunConfig:
    """Tell high from low: four people keep their recordings, two more are held out as unseen."""
    y = np.arange(400) % 2
    x = np.random.default_rng(0).normal(200 * y[:, None, None, None] - 100, 50, (400, 1, 1, 32))
    np.savez(folder / "mine.npz", x=x.astype(np.int16), y=y, owner=np.arange(400) // 67)
    data = {"source": "npz", "path": str(folder / "mine.npz"), "partitions": 4}
    model = {"name": "mine", "module": "examples.own_data"}
    return parse({"name": "mine", "data": data, "model": model, "federation": {"rounds": 3}})
