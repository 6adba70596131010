"""Sparse update (Lin et al. 2022, arXiv 2206.15472): a fixed choice of layers.

The last convolution's weights, the biases of the later half of the layers, and the classifier; the
paper searches the choice once per network, ours is this rule. Its channel subsets are left out.
"""

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, biases, head_parameters
from fedtiny.models.ops import Conv
from fedtiny.models.parameters import ParameterKind


def prepare(task: Task) -> Recipe:
    """The folded model, its last layers trained."""
    graph, model = folded(task.graph, task.model)
    rows = biases(graph)
    last = [node for node in graph.nodes if isinstance(node, Conv)][-1:]
    weights = [ParameterKind.WEIGHT.of(conv.name) for conv in last]
    chosen = [*weights, *rows[len(rows) // 2 :], *head_parameters(graph)]
    return Recipe(graph, model, tuple(dict.fromkeys(chosen)))
