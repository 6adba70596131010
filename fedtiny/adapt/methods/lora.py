"""Low-rank updates of convolutions and the classifier (Hu et al. 2021; FLoCoRA, arXiv 2406.14082).

Beside every convolution stands one of rank 4 over the same windows and a 1×1 convolution that
starts at 0; their sum goes through the activation. The sparse weights stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, head_parameters
from fedtiny.adapt.surgery import Surgery, reading, spread
from fedtiny.models.ops import Activation, Add, Conv
from fedtiny.models.parameters import ParameterKind

RANK = 4


def prepare(task: Task) -> Recipe:
    """The folded model with low-rank branches and the last layer trained."""
    graph, model = folded(task.graph, task.model)
    surgery, names = Surgery(graph, model, task.seed), dict[str, str]()
    for node in graph.nodes:
        if not isinstance(node, Conv) or node.is_depthwise:
            surgery.nodes.append(reading(node, names))
            continue
        source = names.get(node.input, node.input)
        frozen = replace(node, input=source, activation=Activation.NONE)
        surgery.nodes.append(frozen)
        name = f"{node.name}.lora"
        down = replace(frozen, name=f"{name}.down", out_channels=RANK, groups=1, prunable=False)
        up = spread(f"{name}.up", surgery.add(down), RANK, node.out_channels)
        branch = surgery.add(up, [ParameterKind.WEIGHT])
        names[node.name] = surgery.add(Add(f"{name}.sum", node.name, branch, node.activation))
    return Recipe(*surgery.finish(graph.name, head_parameters(graph)))
