"""ReLU6 and hard-swish all the way: federated training, int8, C that agrees byte for byte."""

from collections.abc import Callable
from pathlib import Path

import pytest
from builders import activated

from fedtiny import models
from fedtiny.config import RunConfig
from fedtiny.engine import available
from fedtiny.escaping.terminal import Screen
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Activation, Shape
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend
from sims.pipeline import Pipeline


def bent(input_shape: Shape, classes: int) -> Graph:
    """The smart-watch model, narrow, with the two activations in turn."""
    graph = models.build("smartwatch_cnn@8", input_shape, classes)
    turned = activated(graph, Activation.RELU6, Activation.HARD_SWISH)
    return Graph("bent", turned.input_shape, turned.nodes)


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
def test_an_activation_trains_and_leaves_as_c(
    tiny_config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_REGISTRY", {**models._REGISTRY, "bent": bent})
    config = tiny_config("model.name=bent", "export.enabled=true", "training.engine=sparse")
    folder = RunFolder(tmp_path / "bent")
    report = Pipeline(config, folder, Backend.INLINE, Screen(quiet=True)).run()
    firmware = report["firmware"]
    assert firmware["vectors"] > 1000
    assert firmware["mismatches"] == 0
    text = (folder.firmware / "model.c").read_text(encoding="utf-8")
    assert text.count("return fedtiny_lookup_s8(") == 2, "one table for each hard-swish"
