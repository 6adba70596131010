"""Bring your own model: a function from input shape and classes to a graph, here with a sum."""

from fedtiny.config import RunConfig, parse
from fedtiny.models import register
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Pool, Shape


def bottleneck(input_shape: Shape, classes: int) -> Graph:
    """A residual bottleneck over a 1-D signal; the ends are not pruned."""
    nodes = (
        Conv("stem", INPUT, input_shape[0], 16, (1, 5), padding=(0, 2), prunable=False),
        Conv("down", "stem", 16, 8, (1, 1)),
        Conv("wide", "down", 8, 8, (1, 9), padding=(0, 4)),
        Conv("up", "wide", 8, 16, (1, 1), activation=Activation.NONE),
        Add("sum", "up", "stem"),
        Pool("pool", "sum"),
        Linear("classifier", "pool", 16, classes, prunable=False),
    )
    return Graph("bottleneck", input_shape, nodes)


register("bottleneck", bottleneck)


def my_run() -> RunConfig:
    """The demo's people, one round, half of the weights."""
    model = {"name": "bottleneck", "module": "examples.own_model"}
    return parse(
        {"model": model, "federation": {"rounds": 1}, "pruning": {"density": 0.5, "stop": 1}}
    )
