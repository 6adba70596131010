"""Fresh parameters of a graph."""

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Floats


def initial_state(graph: Graph, generator: np.random.Generator) -> dict[str, Floats]:
    """Every row of the parameter table with its initial value, in order.

    Args:
        graph: the model.
        generator: see :func:`fedtiny.seeding.rng`.
    """
    return {parameter.name: parameter.initial(generator) for parameter in graph.parameter_table}
