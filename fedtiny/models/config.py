"""The settings that name a model."""

from __future__ import annotations

from fedtiny import models
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.settings import Section, import_own


class ModelConfig(Section):
    """Which architecture; input shape and classes come from the data.

    Attributes:
        name: a registered model; ``name@width`` for another width than its own, e.g.
            ``resnet8@12``.
        module: Python module to import first, for one that registers a model of your own; it
            must be importable wherever clients run.
    """

    name: str = "smartwatch_cnn"
    module: str = ""

    def build(self, input_shape: Shape, classes: int) -> Graph:
        """The layer graph.

        Raises:
            ConfigError: the module cannot be imported.
            FedTinyError: no such model; the message lists those there are.
        """
        import_own("model.module", self.module)
        return models.build(self.name, input_shape, classes)
