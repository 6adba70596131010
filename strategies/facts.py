"""What events say of a model."""

from __future__ import annotations

from fedtiny.config import RunConfig
from fedtiny.devices.budget import engine_of
from fedtiny.models.cost import parameter_count, statistics_count, training_flops
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.events import RunStarted


def started_event(config: RunConfig, graph: Graph) -> RunStarted:
    """What the model costs while nothing is pruned."""
    return RunStarted(
        0,
        engine=engine_of(config).title,
        model=graph.name,
        parameters=parameter_count(graph),
        statistics=statistics_count(graph),
        training_flops_dense=training_flops(graph),
    )


def density_fields(
    graph: Graph, model: SparseModel, trained: Graph
) -> tuple[float, float, int, dict[str, float]]:
    """What :class:`fedtiny.runs.events.ModelState` says of a model, in its order.

    Args:
        graph, model: the whole model.
        trained: the largest part of it that anybody trains, whose FLOPs are told.
    """
    nnz = {name: weight.nnz for name, weight in model.weights.items()}
    return (
        model.density,
        model.density_all(graph),
        training_flops(trained, nnz),
        {name: weight.mask.density for name, weight in model.weights.items()},
    )
