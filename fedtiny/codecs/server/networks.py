"""Networks of the server: a classifier of pictures, PNC's decoder, a classifier of latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedtiny.models.ops import Shape


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class PictureClassifier(nn.Module):
    """Three convolutions and a linear layer over their maps.

    Args:
        shape: (C, H, W) of a picture, H and W multiples of 4.
        classes: number of logits.
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.body = nn.Sequential(
            _convolution(channels, 16, 5, stride=2),
            _convolution(16, 32, stride=2),
            _convolution(32, 32),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * (height // 4) * (width // 4), classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised pictures (N, C, H, W)."""
        logits: Tensor = self.body(x)
        return logits


class LatentClassifier(nn.Module):
    """Reads a quantised latent directly: no picture is rebuilt.

    Args:
        shape: (C, H, W) of the latent.
        classes: number of logits.
    """

    def __init__(self, shape: Shape, classes: int, width: int = 64) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.body = nn.Sequential(
            _convolution(channels, width),
            _convolution(width, width),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(width * rows * columns, 2 * width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(2 * width, classes),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Logits (N, classes) of latents (N, C, H, W)."""
        logits: Tensor = self.body(z)
        return logits


class FeatureDecoder(nn.Module):
    """PNC's: a transposed convolution and three 5×5 convolutions with skips, then the picture.

    The 5×5 convolutions work at a quarter of the picture's height and width, two more transposed
    convolutions double it twice: a sixteenth of the work, for small servers. It is told which
    features are missing; the published one reads zeros, which features that are there have, too.

    Args:
        features: maps of the code, each an eighth of the picture in height and width, rounded up.
        shape: (C, H, W) of the picture, H and W multiples of 4.
        width: of the hidden layers.
    """

    def __init__(self, features: int, shape: Shape, width: int = 24) -> None:
        super().__init__()
        channels, height, columns = shape
        even = (1 - height // 4 % 2, 1 - columns // 4 % 2)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(2 * features, width, 3, 2, 1, even, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.skips = nn.ModuleList(_convolution(width, width, 5) for _ in range(3))
        self.out = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            nn.ConvTranspose2d(width // 2, channels, 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Normalised pictures (N, C, H, W) of features (N, M, ⌈H/8⌉, ⌈W/8⌉).

        Those that are missing are negative: :data:`~fedtiny.codecs.latent_code.ABSENT`.
        """
        missing = (z < 0).to(z.dtype)
        h = self.up(torch.cat((z * (1 - missing), missing), 1))
        for skip in self.skips:
            h = h + skip(h)
        picture: Tensor = self.out(h)
        return picture


class FeatureReader(nn.Module):
    """What PNC's server does: rebuilds the picture, classifies that, and may look past it.

    Args:
        decoder: features to pictures.
        classifier: of pictures.
        direct: of the features themselves, its logits are added; the published server has none.
    """

    def __init__(
        self, decoder: FeatureDecoder, classifier: nn.Module, direct: LatentClassifier | None
    ) -> None:
        super().__init__()
        self.decoder, self.classifier, self.direct = decoder, classifier, direct

    def forward(self, z: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, M, ⌈H/8⌉, ⌈W/8⌉)."""
        return torch.stack(self.votes(z, self.decoder(z))).sum(0)

    def votes(self, z: Tensor, picture: Tensor) -> list[Tensor]:
        """What is added: one for each classifier, of features and the picture rebuilt of them."""
        found = [self.classifier(picture)]
        return found if self.direct is None else [*found, self.direct(z)]


class ContextModel(nn.Module):
    """Masked autoregressive network over (channel, row, column): a bound of the rate.

    Each symbol is predicted from those before it in a 5×5 window of its own and of the earlier
    channels. Too large and too serial for a microcontroller, which has static tables instead.

    Args:
        symbols: of the alphabet.
    """

    def __init__(self, symbols: int, width: int = 16) -> None:
        super().__init__()
        shape = (3, 5, 5)
        mask = torch.zeros(shape)
        mask.view(-1)[: 2 * 25 + 12] = 1.0
        self.register_buffer("mask", mask)
        self.first = nn.Conv3d(symbols, width, shape)
        self.last = nn.Sequential(nn.ReLU(), nn.Conv3d(width, width, 1), nn.ReLU(),
                                  nn.Conv3d(width, symbols, 1))  # fmt: skip

    def forward(self, one_hot: Tensor) -> Tensor:
        """Logits (N, L, C, H, W) of each symbol, from the one-hot (N, L, C, H, W)."""
        padded = functional.pad(one_hot, (2, 2, 2, 2, 2, 0))
        mask = self.get_buffer("mask")
        hidden = functional.conv3d(padded, self.first.weight * mask, self.first.bias)
        logits: Tensor = self.last(hidden)
        return logits
