"""Rep-Net (Yang, Rakin, Fan; CVPR 2022): small modules beside the stages of a frozen backbone.

Each module reads what its stage reads and adds to what it makes, so that the two exchange features
in both directions; the backbone's gradient passes frozen layers, a bit saved for every ReLU.

Not the paper's: modules have no batch norm, whose statistics over a handful of one wearer's windows
would be noise, and no weight standardization; that training begins exactly at the backbone is by
last weights of 0 instead of scales of 0. They work at a quarter of the stage's resolution with 16
channels and 3 taps: 5×5 modules would hold more weights than our backbones.
"""

from __future__ import annotations

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, head_parameters
from fedtiny.adapt.surgery import Ends, Surgery, reading, stages
from fedtiny.models.ops import Activation, Add

MIDDLE = 16
"""Channels of a module."""
SHRINK = 4
"""A module's resolution is its stage's by this."""


def prepare(task: Task) -> Recipe:
    """The folded model with modules; these and the last layer trained."""
    graph, model = folded(task.graph, task.model)
    surgery, names = Surgery(graph, model, task.seed), dict[str, str]()
    beside = {made: read for read, made in stages(graph)}
    for node in graph.nodes:
        surgery.nodes.append(reading(node, names))
        if node.name in beside:
            name, read = f"{node.name}.side", beside[node.name]
            ends = Ends(names.get(read, read), read, node.name)
            branch = surgery.module(name, ends, MIDDLE, SHRINK)
            names[node.name] = surgery.add(Add(f"{name}.sum", node.name, branch, Activation.NONE))
    return Recipe(*surgery.finish(graph.name, head_parameters(graph)))
