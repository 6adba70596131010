"""The settings that name a model."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from fedtiny import models
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.settings import Section, import_own
from fedtiny.sparse.tensor import Floats


class ModelConfig(Section):
    """Which architecture; input shape and classes come from the data.

    Attributes:
        name: a registered model; ``name@width`` for another width than its own, e.g.
            ``resnet8@12``.
        module: Python module to import first, for one that registers a model of your own.
        torch: in place of a name, ``module:name`` of what makes a PyTorch module of your own; its
            weights are what training begins with. PyTorch and the module must be importable where
            the server runs: clients get the layer graph with the first message.
    """

    name: str = "smartwatch_cnn"
    module: str = ""
    torch: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = self.name != type(self).model_fields["name"].default or self.module
        if self.torch and named:
            raise ValueError(
                "torch names a network of your own, name and module a registered one: leave one out"
            )
        return self

    def build(self, input_shape: Shape, classes: int, seed: int) -> Graph:
        """The layer graph.

        Args:
            input_shape: of a sample.
            classes: outputs.
            seed: of the weights that a PyTorch module is made with.

        Raises:
            ConfigError: the module cannot be imported.
            FedTinyError: no such model (the message lists those there are), or a PyTorch module
                that is no graph.
        """
        if self.torch:
            return self._own(input_shape, classes, seed)[0]
        import_own("model.module", self.module)
        return models.build(self.name, input_shape, classes)

    def weights(self, graph: Graph, seed: int) -> dict[str, Floats] | None:
        """What training begins with, by parameter name; None for random weights.

        Args:
            graph: that :meth:`build` gave.
            seed: as it was given then.

        Raises:
            FedTinyError: the PyTorch module is another one now.
        """
        if not self.torch:
            return None
        found, state = self._own(graph.input_shape, graph.classes, seed)
        if found != graph:
            raise FedTinyError(
                f"model.torch = {self.torch!r} no longer gives the network that the run was begun "
                "with; it must give the same one every time"
            )
        return state

    def _own(self, input_shape: Shape, classes: int, seed: int) -> tuple[Graph, dict[str, Floats]]:
        from fedtiny.models.from_torch.own import network  # noqa: PLC0415 - PyTorch is optional

        return network("model.torch", self.torch, input_shape, classes, seed)
