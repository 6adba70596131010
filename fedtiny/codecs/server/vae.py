"""The joint codec and classifier of Chamain, Qi and Ding (IoT-J 2022): one fixed rate, no picture.

The latent is quantised to learned centres: by its nearest on the way forward, by a soft assignment
on the way back. A classifier reads the centres. A masked context model prices the symbols; that is
the bound of the rate, which devices reach only up to their static tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedtiny.codecs.codec import Logits, Picture, Point
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.encoders import VAE_KEPT, vae_encoder
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.latent_code import Alphabet, Symbols
from fedtiny.codecs.server.fitting import Lesson, Pictures, fit, outputs, seeded
from fedtiny.codecs.server.networks import ContextModel, LatentClassifier
from fedtiny.codecs.server.quantizing import device_half
from fedtiny.codecs.server.sparse_encoder import SparseEncoder

_SHARPNESS = 4.0
"""Of the soft assignment: softmax of −4·distance²."""


@dataclass(frozen=True, slots=True)
class VaeRecipe:
    """How a codec of one rate is trained.

    Attributes:
        channels: maps of the latent.
        centres: L. With ``channels`` it sets the rate.
        beta: weight of the rate above ``free_bpp``.
        free_bpp: bits per pixel that cost nothing: H.
        epochs: of encoder, centres, classifier and context model together.
    """

    channels: int
    centres: int
    beta: float = 0.0
    free_bpp: float = 0.0
    epochs: int = 10


class Centres(nn.Module):
    """L learned values.

    Args:
        number: L.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.linspace(-1.5, 1.5, number))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(quantised, soft shares (N, L, C, H, W), symbols) of a latent (N, C, H, W)."""
        distances = (z[:, None] - self.values[None, :, None, None, None]) ** 2
        shares = (-_SHARPNESS * distances).softmax(1)
        soft = (shares * self.values[None, :, None, None, None]).sum(1)
        symbols = distances.argmin(1)
        return soft + (self.values[symbols] - soft).detach(), shares, symbols


@dataclass(frozen=True, eq=False)
class VaeCodec:
    """A trained codec of one rate.

    Attributes:
        half: on the device.
        classifier: of quantised latents.
        context: prices symbols.
        points: what was measured.
    """

    half: DeviceHalf
    classifier: LatentClassifier
    context: ContextModel
    points: tuple[Point, ...] = ()

    def encode(self, x: Picture, budget_bytes: int) -> bytes:
        """The whole code.

        Raises:
            CodecError: it is larger than the budget.
        """
        code = self.half.encode(x)
        if len(code) > budget_bytes:
            raise CodecError(
                f"the code has {len(code)} bytes, more than {budget_bytes}, and its rate is fixed; "
                "allow more, or take a codec of fewer centres or channels"
            )
        return code

    def decode(self, code: bytes) -> Logits:
        """Logits of the whole latent.

        Raises:
            CodecError: some of it is missing.
        """
        symbols, maps = self.half.code.decode(code), self.half.code.shape[0]
        if len(symbols) < maps:
            raise CodecError(
                f"{len(code)} bytes hold {len(symbols)} of {maps} maps; send the picture again"
            )
        values = torch.from_numpy(self.half.code.values(symbols)[None])
        logits: Logits = outputs(self.classifier, values)[0]
        return logits

    def payload_bytes(self, code: bytes) -> int:
        """All of them: tables are known beforehand, and there is no header."""
        return len(code)

    def ladder(self) -> tuple[Point, ...]:
        """What was measured."""
        return self.points

    def right(self, pictures: Pictures) -> np.ndarray:
        """Whether each picture gets its class, bool (N,)."""
        code, symbols = self.half.code, self.half.symbols(pictures.data.x)
        values = code.alphabet.values[symbols].reshape(len(symbols), *code.shape)
        logits = outputs(self.classifier, torch.from_numpy(values))
        return np.asarray(logits.argmax(1) == pictures.data.y)

    def context_bits(self, symbols: Symbols) -> np.ndarray:
        """What the context model says that symbols (N, C, H·W) take, (N,)."""
        code = self.half.code
        rows = torch.from_numpy(symbols.astype(np.int64)).view(len(symbols), *code.shape)
        with torch.no_grad():
            prices = prices_of(self.context.eval(), rows, len(code.alphabet.values))
        bits: np.ndarray = prices.gather(1, rows[:, None]).sum((1, 2, 3, 4)).numpy()
        return bits


@dataclass(frozen=True, eq=False)
class Networks:
    """A codec of one rate while it is trained.

    Attributes:
        encoder: of the device, in floating point.
        centres, classifier, context: of the server.
    """

    encoder: SparseEncoder
    centres: Centres
    classifier: LatentClassifier
    context: ContextModel

    def quantised(self, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What :class:`Centres` make of the latents of folded pictures (N, 16·C, H/4, W/4)."""
        graph = self.encoder.graph
        latents = self.encoder(cells).view(-1, *graph.shapes[graph.logits])
        found: tuple[Tensor, Tensor, Tensor] = self.centres(latents)
        return found

    def codec(self, pictures: Pictures) -> VaeCodec:
        """With the device's half quantized, its ranges and tables of ``pictures``."""
        values = self.centres.values.detach().numpy().copy()
        half = device_half(
            self.encoder,
            pictures,
            lambda out: Alphabet.of_centres(values, out.scale, out.zero_point),
        )
        return VaeCodec(half, self.classifier.eval(), self.context)


def train_vae(
    pictures: Pictures, recipe: VaeRecipe, seed: int, teacher: nn.Module | None = None
) -> Networks:
    """Encoder, centres, classifier and context model at once.

    Args:
        pictures: public, on the server.
        recipe: rate and length.
        seed: of weights and order.
        teacher: of normalised pictures, trained: its answers are what the classifier is to say
            (Hinton et al., "Distilling the knowledge in a neural network", 2015). None: classes,
            as in the paper.
    """
    shape, classes = pictures.data.input_shape, len(pictures.data.labels)
    with seeded(seed, "vae"):
        graph = vae_encoder(shape, recipe.channels)
        latent = graph.shapes[graph.logits]
        encoder, centres = SparseEncoder(graph, seed, VAE_KEPT), Centres(recipe.centres)
        classifier, context = LatentClassifier(latent, classes), ContextModel(recipe.centres)
        found = Networks(encoder, centres, classifier, context)
        cells, pixels, wanted = pictures.cells, shape[1] * shape[2], _wanted(pictures, teacher)

        def loss(rows: Tensor) -> Tensor:
            quantised, shares, symbols = found.quantised(cells[rows])
            prices = prices_of(context, symbols, recipe.centres)
            bpp = (shares * prices.detach()).sum((1, 2, 3, 4)).mean() / pixels
            priced = prices.gather(1, symbols[:, None]).mean()
            rate = recipe.beta * (bpp - recipe.free_bpp).clamp(min=0)
            wrong = functional.cross_entropy(classifier(quantised), wanted[rows])
            total: Tensor = wrong + rate + priced
            return total

        networks = nn.ModuleList((encoder, centres, classifier, context)).train()
        lesson = Lesson(recipe.epochs, seed=seed)
        fit(networks.parameters(), loss, len(pictures.data), lesson, encoder.prune)
    return found


def _wanted(pictures: Pictures, teacher: nn.Module | None) -> Tensor:
    """Classes (N,), or a teacher's shares of each (N, classes)."""
    if teacher is None:
        return pictures.y
    return torch.from_numpy(outputs(teacher, pictures.x)).softmax(1)


def prices_of(context: ContextModel, symbols: Tensor, centres: int) -> Tensor:
    """Bits of every symbol that could stand at each place, (N, L, C, H, W), of (N, C, H, W)."""
    one_hot = functional.one_hot(symbols, centres).permute(0, 4, 1, 2, 3)
    weights = context.first.weight.dtype
    prices: Tensor = -context(one_hot.to(weights)).log_softmax(1) / np.log(2)
    return prices
