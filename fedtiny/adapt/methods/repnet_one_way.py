"""Rep-Net whose modules read the backbone and never write into it (ladder side-tuning).

No gradient enters the backbone, so that it can be int8 code in flash: nothing of it is saved but
pooled maps. Every stage's map is pooled to half the last one's size, convolved to 16 channels and
added to the ladder; the ladder's end is spread by weights that start at 0 and added to the features
that the classifier reads.
"""

from __future__ import annotations

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import AdaptError, Recipe, Task, head_of, head_parameters
from fedtiny.adapt.surgery import Surgery, mixing, reading, spread, stages
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Activation, Add, Pool
from fedtiny.models.parameters import ParameterKind

MIDDLE = 16
"""Channels of the ladder."""

OUT = "side.out"
"""Name of what spreads the ladder's end to the features."""


def prepare(task: Task) -> Recipe:
    """The folded model with a ladder; the ladder and the last layer trained.

    Raises:
        AdaptError: the classifier does not read one value per channel of the last map.
    """
    graph, model = folded(task.graph, task.model)
    head, features = head_of(graph), _features(graph)
    surgery = Surgery(graph, model, task.seed)
    ladder, maps = "", {made for _, made in stages(graph)}
    for node in graph.nodes[:-1]:
        surgery.nodes.append(node)
        if node.name in maps:  # pooled at once: no map waits for the ladder
            ladder = _rung(surgery, node.name, ladder)
    channels = graph.shapes[features][0]
    out = spread(OUT, ladder, MIDDLE, channels)
    mean = surgery.add(Pool("side.mean", surgery.add(out, [ParameterKind.WEIGHT])))
    both = surgery.add(Add("side.sum", features, mean, Activation.NONE))
    surgery.nodes.append(reading(head, {features: both}))
    return Recipe(*surgery.finish(graph.name, head_parameters(graph)))


def _features(graph: Graph) -> str:
    """The tensor that the classifier reads."""
    name = head_of(graph).input
    if graph.shapes[name][1:] != (1, 1):
        raise AdaptError(
            f"{graph.name}: its classifier reads maps of {graph.shapes[name][1:]}, and the ladder "
            "ends in one value per channel; choose the method repnet"
        )
    return name


def _rung(surgery: Surgery, tensor: str, ladder: str) -> str:
    """The ladder's name after the map ``tensor``, which is ``ladder`` if its size does not fit."""
    shapes = surgery.graph.shapes
    channels, *size = shapes[tensor]
    _, height, width = shapes[stages(surgery.graph)[-1][1]]
    wanted = (max(1, height // 2), max(1, width // 2))
    kernel = (size[0] // wanted[0], size[1] // wanted[1])
    pool = Pool(f"{tensor}.side.pool", tensor, "avg", kernel)
    if pool.output_shape(shapes[tensor])[1:] != wanted:
        return ladder
    mixed = mixing(f"{tensor}.side.mix", surgery.add(pool), channels, MIDDLE, height > 1)
    name = surgery.add(mixed)
    if not ladder:
        return name
    return surgery.add(Add(f"{tensor}.side.sum", name, ladder, Activation.NONE))
