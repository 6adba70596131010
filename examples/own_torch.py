"""Bring your own PyTorch module: devices train its graph, and need neither it nor PyTorch."""

from torch import Tensor, nn

from fedtiny.config import RunConfig, parse


class Gestures(nn.Module):
    """A 1-D CNN over what the demo's watches record: 6 channels of 128 readings, 7 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(6, 16, 5, 2, 2), nn.BatchNorm1d(16), nn.ReLU())
        self.body = nn.Sequential(nn.Conv1d(16, 24, 5, 2, 2), nn.BatchNorm1d(24), nn.ReLU6())
        self.classifier = nn.Linear(24, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        return self.classifier(x.mean(dim=2))


def my_run() -> RunConfig:
    """The demo's people, two rounds, a tenth of the weights of the body."""
    pruning = {"density": 0.1, "stop": 1}
    model = {"torch": "examples.own_torch:Gestures"}
    return parse({"model": model, "federation": {"rounds": 2}, "pruning": pruning})
