"""PNC (Wang et al., RTSS 2023): features in order of importance, as many as arrive in time.

Training drops a random tail of the features at every step, so that the first say most. Stage 0
rebuilds pictures; stage 1 trains for a frozen classifier, too. The recipe leaves open whether by
labels or by the classifier's answer to the clean picture: :class:`JointLoss` has either and both.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedtiny.codecs.codec import Logits, Picture, Point
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.encoders import FEATURES, PNC_KEPT, pnc_encoder
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.latent_code import ABSENT, Alphabet
from fedtiny.codecs.salient_order import BASE
from fedtiny.codecs.server.fitting import Lesson, Pictures, fit, outputs, seeded
from fedtiny.codecs.server.networks import FeatureDecoder, FeatureReader, LatentClassifier
from fedtiny.codecs.server.quantizing import device_half
from fedtiny.codecs.server.sparse_encoder import SparseEncoder


class JointLoss(StrEnum):
    """What stage 1 adds to the pictures' error."""

    LABELS = "labels"
    """Cross-entropy of the classifier's logits."""

    CLEAN_LOGITS = "clean_logits"
    """Their divergence from those of the clean picture."""

    BOTH = "both"
    """The mean of the two."""


class Drop(StrEnum):
    """What is left out at each step of training, so that prefixes of a code say most."""

    TAIL = "tail"
    """The last features, see :func:`tail_drop`."""

    SALIENT = "salient"
    """The last symbols in the order of :mod:`fedtiny.codecs.salient_order`."""

    NOTHING = "nothing"


_LARGEST = 6.0
"""Of a feature, by the encoder's last activation."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a PNC codec is trained.

    Attributes:
        drop: what is dropped at every step.
        joint: the loss of stage 1.
        rebuild_epochs, joint_epochs: of stages 0 and 1.
        mse_weight: of the pictures' error beside the classifier's, in stage 1; 10 in the paper.
        alone_weight: of the loss that each of two classifiers has by itself, beside their sum's.
        classifier_learns: whether stage 1 goes on training the classifier, on pictures as the
            decoder rebuilds them, and trains another of the features themselves beside it; the
            paper's is frozen, and its rivals' are not retrained either.
        bits: of a symbol; the paper sends 6, of maps of 32×32.
        features: maps.
    """

    drop: Drop = Drop.TAIL
    joint: JointLoss = JointLoss.CLEAN_LOGITS
    rebuild_epochs: int = 1
    joint_epochs: int = 6
    mse_weight: float = 1.0
    alone_weight: float = 0.0
    classifier_learns: bool = True
    bits: int = 4
    features: int = FEATURES


@dataclass(frozen=True, eq=False)
class PncCodec:
    """A trained codec; any prefix of a code is one.

    Attributes:
        half: on the device.
        server: features to logits.
        points: what was measured.
    """

    half: DeviceHalf
    server: FeatureReader
    points: tuple[Point, ...] = ()

    def encode(self, x: Picture, budget_bytes: int) -> bytes:
        """The first bytes of the code."""
        return self.half.encode(x)[:budget_bytes]

    def decode(self, code: bytes) -> Logits:
        """Logits by the symbols that arrived; of the last feature, too.

        Raises:
            CodecError: not one did.
        """
        symbols = self.half.code.determined(code)
        if len(symbols) == 0:
            raise CodecError(f"{len(code)} bytes say nothing yet; wait for more")
        values = torch.from_numpy(self.half.code.values(symbols)[None])
        logits: Logits = outputs(self.server, values)[0]
        return logits

    def payload_bytes(self, code: bytes) -> int:
        """All of them: tables are known beforehand, and there is no header."""
        return len(code)

    def ladder(self) -> tuple[Point, ...]:
        """What was measured."""
        return self.points

    def right(self, pictures: Pictures, sent: np.ndarray) -> np.ndarray:
        """Whether each picture gets its class by its first ``sent`` symbols, both (N,)."""
        code, symbols = self.half.code, self.half.symbols(pictures.data.x)
        arrived = np.arange(symbols[0].size) < sent[:, None]
        values = np.where(
            arrived, code.alphabet.values[symbols].reshape(len(symbols), -1), ABSENT
        ).astype(np.float32)
        shaped = torch.from_numpy(values.reshape(-1, *code.shape))
        return np.asarray(outputs(self.server, shaped).argmax(1) == pictures.data.y)


def train_pnc(pictures: Pictures, classifier: nn.Module, recipe: Recipe, seed: int) -> PncCodec:
    """Both stages, then the device's half.

    Args:
        pictures: public, on the server.
        classifier: of clean pictures; a copy of it is what learns, if any does.
        recipe: losses and lengths.
        seed: of weights, order and drops.
    """
    frozen = deepcopy(classifier).requires_grad_(False).eval()
    shape = pictures.data.input_shape
    with seeded(seed, "pnc"):
        graph = pnc_encoder(shape, recipe.features)
        encoder, latent = SparseEncoder(graph, seed, PNC_KEPT), graph.shapes[graph.logits]
        decoder = FeatureDecoder(recipe.features, shape)
        learns, classes = recipe.classifier_learns, len(pictures.data.labels)
        reader = FeatureReader(
            decoder,
            deepcopy(classifier).requires_grad_(learns).eval(),
            LatentClassifier(latent, classes) if learns else None,
        )
        encoder.train()
        decoder.train()
        trained = [*encoder.parameters(), *decoder.parameters()]
        x, cells, y, number = pictures.x, pictures.cells, pictures.y, len(pictures.data)
        drop = _DROPS[recipe.drop]

        def arrived(rows: Tensor) -> Tensor:
            return drop(quantised(encoder(cells[rows]).view(-1, *latent), recipe.bits))

        def error(rows: Tensor) -> Tensor:
            return functional.mse_loss(decoder(arrived(rows)), x[rows])

        def joint(rows: Tensor) -> Tensor:
            features = arrived(rows)
            rebuilt = decoder(features)
            wanted = _WANTED[recipe.joint](frozen, x[rows], y[rows])
            known = _known(reader.votes(features, rebuilt), wanted, recipe.alone_weight)
            return recipe.mse_weight * functional.mse_loss(rebuilt, x[rows]) + known

        fit(trained, error, number, Lesson(recipe.rebuild_epochs, seed=seed))
        if learns:
            trained = [*encoder.parameters(), *reader.train().parameters()]
        fit(trained, joint, number, Lesson(recipe.joint_epochs, seed=seed + 1), encoder.prune)
    half = device_half(
        encoder, pictures, lambda out: Alphabet.of_bits(recipe.bits, out.scale, out.zero_point)
    )
    return PncCodec(half, reader.eval())


def quantised(features: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits levels from 0 to the features' bound of 6; gradients pass through.

    >>> quantised(torch.tensor([0.0, 0.4, 6.0]), 3)
    tensor([0., 0., 6.])
    """
    step = _LARGEST / (2**bits - 1)
    levels: Tensor = features + (step * torch.round(features / step) - features).detach()
    return levels


def tail_drop(features: Tensor) -> Tensor:
    """Nothing in the last L ~ U{0 … (M − 1)·P} symbols of each of (N, M, H, W), P = H·W.

    The paper drops whole features; ours may arrive in part, since the decoder is told.
    """
    number, maps, *sides = features.shape
    places = torch.arange(maps * prod(sides)).view(1, maps, *sides)
    return _left(features, places < _sent(number, maps, prod(sides)).view(-1, 1, 1, 1))


def salient_drop(features: Tensor) -> Tensor:
    """As many, but the last in the order of :mod:`fedtiny.codecs.salient_order`."""
    number, maps, *sides = features.shape
    places = prod(sides)
    saliency = features[:, :BASE].sum(1).detach().flatten(1)
    order = torch.argsort(saliency, dim=1, descending=True, stable=True)
    rank, map_of = order.argsort(1)[:, None], torch.arange(maps)[None, :, None]
    by_place = BASE * places + rank * (maps - BASE) + map_of - BASE
    by_map = map_of * places + torch.arange(places)
    at = torch.where(map_of < BASE, by_map, by_place)
    return _left(features, (at < _sent(number, maps, places)).view(features.shape))


def _sent(number: int, maps: int, places: int) -> Tensor:
    """How many symbols each of some pictures sends: at least a feature."""
    return maps * places - torch.randint(0, (maps - 1) * places + 1, (number, 1, 1))


def _left(features: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, features, ABSENT)


def _keep(features: Tensor) -> Tensor:
    return features


_DROPS: dict[Drop, Callable[[Tensor], Tensor]] = {
    Drop.TAIL: tail_drop,
    Drop.SALIENT: salient_drop,
    Drop.NOTHING: _keep,
}


def _known(votes: list[Tensor], wanted: Tensor, alone_weight: float) -> Tensor:
    """Cross-entropy of the votes' sum, and of each as if all were like it."""
    known = functional.cross_entropy(torch.stack(votes).sum(0), wanted)
    if alone_weight > 0 and len(votes) > 1:
        alone = [functional.cross_entropy(len(votes) * vote, wanted) for vote in votes]
        known = known + alone_weight * torch.stack(alone).sum()
    return known


def _labels(_frozen: nn.Module, _clean: Tensor, y: Tensor) -> Tensor:
    return y


def _clean_logits(frozen: nn.Module, clean: Tensor, _y: Tensor) -> Tensor:
    shares: Tensor = frozen(clean).softmax(1)
    return shares


def _both(frozen: nn.Module, clean: Tensor, y: Tensor) -> Tensor:
    shares = _clean_logits(frozen, clean, y)
    return (shares + functional.one_hot(y, shares.shape[1])) / 2


_WANTED: dict[JointLoss, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    JointLoss.LABELS: _labels,
    JointLoss.CLEAN_LOGITS: _clean_logits,
    JointLoss.BOTH: _both,
}
"""What the classifier's logits of a rebuilt picture are to be: classes, or shares of each."""
