"""The classifier alone: its input is all that is saved."""

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, head_parameters


def prepare(task: Task) -> Recipe:
    """The folded model, its last layer trained."""
    graph, model = folded(task.graph, task.model)
    return Recipe(graph, model, head_parameters(graph))
