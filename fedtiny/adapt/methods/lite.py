"""TinyTL's lite residual modules with biases (Cai et al. 2020, arXiv 2007.11622).

Beside every convolution over more than one tap a branch at half its resolution is added to its
result. Not the paper's: no batch norm in the branch, whose last weights start at 0, and 3 taps.
"""

from __future__ import annotations

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, biases, head_parameters
from fedtiny.adapt.surgery import Ends, Surgery, reading
from fedtiny.models.ops import Activation, Add, Conv

MIDDLE = 16
"""Channels of a branch."""
SHRINK = 2
"""A branch's resolution is its result's by this."""


def prepare(task: Task) -> Recipe:
    """The folded model with lite residuals, biases and the last layer trained."""
    graph, model = folded(task.graph, task.model)
    surgery, names = Surgery(graph, model, task.seed), dict[str, str]()
    for node in graph.nodes:
        surgery.nodes.append(reading(node, names))
        if isinstance(node, Conv) and max(node.kernel) > 1:
            name = f"{node.name}.lite"
            ends = Ends(names.get(node.input, node.input), node.input, node.name)
            branch = surgery.module(name, ends, MIDDLE, SHRINK)
            names[node.name] = surgery.add(Add(f"{name}.sum", node.name, branch, Activation.NONE))
    also = (*biases(graph), *head_parameters(graph))
    return Recipe(*surgery.finish(graph.name, also))
