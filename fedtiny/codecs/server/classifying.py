"""A classifier of pictures, trained on clean ones or on what a codec leaves of them."""

from __future__ import annotations

import numpy as np
from torch.nn import functional

from fedtiny.codecs.picture_codec import Classify
from fedtiny.codecs.server.fitting import Lesson, Pictures, fit, outputs, seeded
from fedtiny.codecs.server.networks import PictureClassifier


def train_classifier(
    pictures: Pictures, lesson: Lesson, begun: PictureClassifier | None = None
) -> PictureClassifier:
    """Cross-entropy on normalised pictures.

    Args:
        pictures: it learns from.
        lesson: how long.
        begun: goes on learning itself; None: a new one.
    """
    data = pictures.data
    with seeded(lesson.seed, "picture classifier"):
        network = begun or PictureClassifier(data.input_shape, len(data.labels))
        network.train()
        x, y = pictures.x, pictures.y
        fit(
            network.parameters(),
            lambda rows: functional.cross_entropy(network(x[rows]), y[rows]),
            len(data),
            lesson,
        )
    network.eval()
    return network


def classify(network: PictureClassifier, pictures: Pictures) -> Classify:
    """The network as picture codecs call it: counts in, logits out."""

    def logits(x: np.ndarray) -> np.ndarray:
        labels = np.zeros(len(x), np.int64)
        data = pictures.data
        batch = type(data)(x, labels, labels, data.labels, data.sensor)
        return outputs(network, Pictures(batch, pictures.normalization).x)

    return logits
