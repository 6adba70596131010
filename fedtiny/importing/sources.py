"""Which file or function a network comes from, and its reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedtiny.errors import FedTinyError
from fedtiny.importing.imported import ImportedModel


@dataclass(frozen=True, slots=True)
class Source:
    """What ``fedtiny export`` was told in place of a run.

    Attributes:
        torch: ``module:name`` of a function that makes an ``nn.Module``.
        pt2e: a converted program of ``torchao.quantization.pt2e``, saved by ``torch.export``.
        tflite: an int8 ``.tflite`` file.
        calibration: samples, see :mod:`fedtiny.importing.calibration`.
        prune: share of the prunable weights to keep, in (0, 1]; None: all.
    """

    OPTIONS: ClassVar[str] = "--torch MODULE:NAME, --pt2e FILE or --tflite FILE"
    """How one names a network, for messages."""

    torch: str = ""
    pt2e: Path | None = None
    tflite: Path | None = None
    calibration: Path | None = None
    prune: float | None = None

    @property
    def named(self) -> bool:
        """Whether there is any."""
        return bool(self._given())

    def _given(self) -> list[str]:
        """As they were written."""
        options = {"--torch": self.torch, "--pt2e": self.pt2e, "--tflite": self.tflite}
        return [f"{name} {value}" for name, value in options.items() if value]

    def refuse_beside(self, run: Path) -> None:
        """Raise FedTinyError if anything was named beside a run."""
        if self.named or self.calibration is not None or self.prune is not None:
            raise FedTinyError(
                f"the run {run} has a model, ranges and a density of its own: leave out the run, "
                "or --torch, --pt2e, --tflite, --calibration and --prune"
            )

    def read(self) -> ImportedModel:
        """The network.

        Raises:
            FedTinyError: there is none or more than one, an option is missing, or its reader
                refuses it.
        """
        if len(self._given()) > 1:
            raise FedTinyError(f"one network at a time: leave out {' or '.join(self._given())}")
        if self.pt2e is not None:
            from fedtiny.importing.pt2e_source import read_pt2e  # noqa: PLC0415 - PyTorch is optional

            return read_pt2e(self.pt2e, self.calibration, self.prune)
        if self.tflite is not None:
            from fedtiny.importing.tflite_source import read_tflite  # noqa: PLC0415 - an extra

            return read_tflite(self.tflite, self.calibration, self.prune)
        from fedtiny.importing.torch_module import read_torch  # noqa: PLC0415 - PyTorch is optional

        return read_torch(self.torch, self.needed_calibration(), self.prune)

    def needed_calibration(self) -> Path:
        """The samples.

        Raises:
            FedTinyError: none were named.
        """
        if self.calibration is None:
            raise FedTinyError(
                "ranges are measured on samples: add --calibration data.npz with x as the network "
                "takes it and, for accuracies, y"
            )
        return self.calibration
