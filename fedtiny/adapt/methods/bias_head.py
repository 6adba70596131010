"""Every bias and the classifier (Cai et al. 2020, arXiv 2007.11622): a bit is saved per ReLU."""

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, biases, head_parameters


def prepare(task: Task) -> Recipe:
    """The folded model, biases and the last layer trained."""
    graph, model = folded(task.graph, task.model)
    return Recipe(graph, model, tuple(dict.fromkeys([*biases(graph), *head_parameters(graph)])))
