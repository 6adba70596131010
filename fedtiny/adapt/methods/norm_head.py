"""Batch norms' scales and shifts and the classifier, statistics frozen.

A batch norm whose statistics are frozen is a scale and a shift per channel: a depthwise 1×1
convolution behind the folded one. Its weights' gradients need its input, so every map is saved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedtiny.adapt.folding import folded
from fedtiny.adapt.recipe import Recipe, Task, head_parameters
from fedtiny.adapt.surgery import Surgery, reading
from fedtiny.models.ops import Activation, Conv
from fedtiny.models.parameters import ParameterKind


def prepare(task: Task) -> Recipe:
    """The folded model with a trained scale and shift behind every convolution that had a norm."""
    plain, model = folded(task.graph, task.model)
    normed, names = {conv.name for conv in task.graph.batch_norms}, dict[str, str]()
    surgery = Surgery(plain, model, task.seed)
    for node in plain.nodes:
        if not isinstance(node, Conv) or node.name not in normed:
            surgery.nodes.append(reading(node, names))
            continue
        source = names.get(node.input, node.input)
        surgery.nodes.append(replace(node, input=source, activation=Activation.NONE))
        channels = node.out_channels
        scale = Conv(
            f"{node.name}.scale", node.name, channels, channels, (1, 1), groups=channels,
            batch_norm=False, activation=node.activation, prunable=False,
        )  # fmt: skip
        names[node.name] = surgery.add(scale)
        weight = ParameterKind.WEIGHT.of(scale.name)
        surgery.dense[weight] = np.ones_like(surgery.dense[weight])
    return Recipe(*surgery.finish(plain.name, head_parameters(plain)))
