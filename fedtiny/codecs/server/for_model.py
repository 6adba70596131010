"""A codec for a finished model, which reads what its decoder makes of codes, and stays as it is."""

from __future__ import annotations

from fedtiny.codecs.server.fitting import Pictures
from fedtiny.codecs.server.pnc import PncCodec, Recipe, train_pnc
from fedtiny.data.dataset import Dataset
from fedtiny.models.torch_module import GraphModule
from fedtiny.runs.trained_model import TrainedModel

RECIPE = Recipe(classifier_learns=False, rebuild_epochs=12, joint_epochs=16)
"""Long, for a server's public pictures are few."""


def codec_for(public: Dataset, finished: TrainedModel, seed: int) -> PncCodec:
    """PNC, trained on public pictures.

    Args:
        public: of the server.
        finished: the classifier.
        seed: of weights, order and drops.
    """
    classifier = GraphModule(finished.graph)
    classifier.load(finished.model.to_dense())
    return train_pnc(Pictures(public, finished.normalization), classifier, RECIPE, seed)
