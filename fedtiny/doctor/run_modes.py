"""What the boards of a run may do with its model, as ``fedtiny doctor`` says it, for its report."""

from __future__ import annotations

import json
from dataclasses import asdict

from fedtiny.config import RunConfig
from fedtiny.devices.catalog import get
from fedtiny.doctor.boards import examine
from fedtiny.doctor.modes import sentences
from fedtiny.models.graph import Graph
from fedtiny.runs import atomic
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel


def write_modes(folder: RunFolder) -> None:
    """``modes.json``: every board that held a partition, its verdicts, and these in sentences.

    Nothing is written where no partition was on a board.
    """
    config, graph = folder.load_config(), TrainedModel.load(folder.model).graph
    boards = sorted({config.devices.board(k) for k in range(config.data.partitions)} - {""})
    rows = [_row(config, graph, board) for board in boards]
    if rows:
        atomic.write(folder.modes, json.dumps(rows, indent=1) + "\n")


def _row(config: RunConfig, graph: Graph, board: str) -> dict[str, object]:
    profile = get(board, config.devices.catalog)
    modes = examine(profile, graph, config.training.batch_size, config.method.density).modes
    verdicts = [asdict(one) for one in modes]
    return {"board": board, "modes": verdicts, "sentences": sentences(profile.title, modes)}
