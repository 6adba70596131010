"""Networks as people write them in PyTorch: MLPerf Tiny's four (Banbury et al. 2021), others."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class MobileNetV1(nn.Module):
    """MLPerf Tiny's visual wake words: MobileNetV1 of width 0.25 at 96×96."""

    STAGES = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2),
              (256, 1))  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        blocks, inner = [self.unit(3, 8, 3, 2)], 8
        for outer, stride in self.STAGES:
            depthwise = self.unit(inner, inner, 3, stride, inner)
            blocks.append(nn.Sequential(depthwise, self.unit(inner, outer, 1)))
            inner = outer
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AvgPool2d(3)
        self.classifier = nn.Linear(inner, 2)

    @staticmethod
    def unit(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
        conv = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outer, eps=1e-3), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.features(x))
        return torch.softmax(self.classifier(x.view(x.shape[0], -1)), dim=1)


class ResNet8(nn.Module):
    """MLPerf Tiny's image classification: biases before batch norms, none on the shortcuts."""

    class Block(nn.Module):
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1)
            self.bn1 = nn.BatchNorm2d(outer, eps=1e-3, momentum=0.01)
            self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1)
            self.bn2 = nn.BatchNorm2d(outer, eps=1e-3, momentum=0.01)
            same = inner == outer
            self.shortcut = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride)

        def forward(self, x: Tensor) -> Tensor:
            y = functional.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            y += self.shortcut(x)
            return functional.relu(y)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16, eps=1e-3, momentum=0.01)
        self.stages = nn.Sequential(
            self.Block(16, 16, 1), self.Block(16, 32, 2), self.Block(32, 64, 2)
        )
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(functional.relu(self.bn(self.stem(x))))
        x = functional.adaptive_avg_pool2d(x, 1)
        return functional.softmax(self.classifier(torch.flatten(x, 1)), dim=-1)


class DsCnn(nn.Module):
    """MLPerf Tiny's keyword spotting: 49 frames of 10 features, 12 words."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 64, (10, 4), 2, (5, 1)), nn.BatchNorm2d(64), nn.ReLU()]
        layers.append(nn.Dropout(0.2))
        for _ in range(4):
            layers += [nn.Conv2d(64, 64, 3, padding="same", groups=64), nn.BatchNorm2d(64)]
            layers += [nn.ReLU(), nn.Conv2d(64, 64, 1), nn.BatchNorm2d(64), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Dropout(0.4))
        self.head = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(dim=(2, 3)))


class AutoEncoder(nn.Module):
    """MLPerf Tiny's anomaly detection: 640 features through 8 and back."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
        layers: list[nn.Module] = []
        for inner, outer in pairwise(sizes):
            layers += [nn.Linear(inner, outer), nn.BatchNorm1d(outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(128, 640))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Mlp(nn.Module):
    """A residual MLP on plain features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 16), nn.Linear(16, 16)
        self.last = nn.Linear(16, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(functional.hardswish(x + self.second(x)))


class Series(nn.Module):
    """A 1-D CNN on 6 channels of 128 readings, and an MLP on its flattened maps."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.one = nn.Conv1d(6, 8, 5, stride=2, padding=2)
        self.bn = nn.BatchNorm1d(8, affine=False)
        self.two = nn.Conv1d(8, 12, 3)
        self.pool, self.average = nn.MaxPool1d(2), nn.AvgPool1d(3, 2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(12 * 3, 10), nn.ReLU6(), nn.Linear(10, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn(self.one(self.norm(x)))).relu_()
        x = self.average(self.pool(self.two(x)))
        return functional.log_softmax(self.head(x), 1)


class PreActivation(nn.Module):
    """Batch norm and ReLU before the convolution, their input read elsewhere, too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.one, self.two = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.one(torch.clamp(self.bn1(x), min=0))
        x = x + self.two(functional.relu6(self.bn2(y)))
        return self.head(torch.amax(functional.relu(x), dim=(-2, -1)))


class MobileNetV2(nn.Module):
    """Inverted residuals: wide inside, ReLU6, narrow and linear at the ends."""

    class Block(nn.Module):
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            wide, self.adds = 4 * inner, inner == outer and stride == 1
            self.layers = nn.Sequential(
                nn.Conv2d(inner, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(True),
                nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
                nn.BatchNorm2d(wide), nn.ReLU6(True),
                nn.Conv2d(wide, outer, 1, bias=False), nn.BatchNorm2d(outer),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layers(x) if self.adds else self.layers(x)

    def __init__(self) -> None:
        super().__init__()
        blocks = [self.Block(4, 4, 1), self.Block(4, 6, 2), self.Block(6, 6, 1)]
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU6(True), *blocks)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class Fire(nn.Module):
    """Joined channels, also with what was read before (SqueezeNet's, DenseNet's)."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(2, 3, 1)
        self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Linear(12 + 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(x))
        y = functional.relu(self.one(x))
        z = torch.cat([y, self.three(x), x], dim=1)
        z = functional.relu(self.norm(z)).mean((2, 3))
        return self.head(torch.cat([z, y.amax((2, 3))], -1))


class Overhanging(nn.Module):
    """Padding that differs by side, windows over the border, and groups."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 2, 0))
        self.stem = nn.Conv2d(2, 6, 3, stride=2)
        self.grouped = nn.Conv2d(6, 4, 3, padding=1, groups=2)
        self.even = nn.Conv2d(4, 5, 4, padding="same")
        self.most = nn.MaxPool2d(3, 2, 1)
        self.average = nn.AvgPool2d(2, 2, ceil_mode=True)
        self.apart = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.most(self.stem(self.pad(x)))
        x = self.even(functional.pad(functional.relu(self.grouped(x)), (0, 1)))
        return self.head(self.apart(self.average(x)).mean((2, 3)))


class Hourglass(nn.Module):
    """Maps made smaller and larger again, in two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.down, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.wide = nn.UpsamplingNearest2d(size=(12, 24))
        self.last = nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = x + functional.relu(self.up(self.inner(self.down(x))))
        x = functional.interpolate(self.wide(x), scale_factor=2, mode="nearest-exact")
        return self.head(self.last(x).mean((2, 3)))


class LongerSeries(nn.Module):
    """A series made longer by what is no whole factor."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(3, 4, 3), nn.Conv1d(4, 5, 3)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(functional.relu(self.one(x)), size=21)
        return self.head(self.two(x).mean(2))


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "mobilenet_v1": (MobileNetV1, (3, 96, 96)),
    "resnet8": (ResNet8, (3, 32, 32)),
    "ds_cnn": (DsCnn, (1, 49, 10)),
    "auto_encoder": (AutoEncoder, (640,)),
    "mlp": (Mlp, (12,)),
    "series": (Series, (6, 64)),
    "pre_activation": (PreActivation, (3, 8, 8)),
    "mobilenet_v2": (MobileNetV2, (3, 16, 16)),
    "fire": (Fire, (2, 6, 5)),
    "overhanging": (Overhanging, (2, 17, 15)),
    "hourglass": (Hourglass, (2, 6, 8)),
    "longer_series": (LongerSeries, (3, 14)),
}
"""By name: the class, and the shape of a sample."""

MLPERF_TINY = ("mobilenet_v1", "resnet8", "ds_cnn", "auto_encoder")


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """``module`` with batch norms that do something, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for one in module.modules():
        if isinstance(one, nn.modules.batchnorm._BatchNorm):
            size = (one.num_features,)
            one.running_mean = torch.randn(size, generator=generator) / 4
            one.running_var = torch.rand(size, generator=generator) + 0.2
            if one.affine:
                nn.init.uniform_(one.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(one.bias, 0, 0.3, generator=generator)
    return module.eval()


def network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """One of :data:`NETWORKS` with random weights, and the shape of a sample."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    return lively(make()), shape
