"""A ServerApp of one's own around a method of FedTiny's."""

import json
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from fedtiny.config import load
from strategies.flower import FedTinyStrategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the strategy, and write what it came to."""
    settings = context.run_config
    config = load(Path(str(settings["config"])), json.loads(str(settings["overrides"])))
    out, data = Path(str(settings["out"])), Path(str(settings["data"]))
    strategy = FedTinyStrategy(config, out, shares=data)
    result = strategy.start(grid, evaluate_fn=count_zeros)
    (out / "mine.txt").write_text(str(result), encoding="utf-8")


def count_zeros(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Whatever you like to know of the global model: here, how many of its weights are gone."""
    weights = [a.numpy() for name, a in arrays.items() if name.endswith(".weight") and a.shape]
    return MetricRecord(
        {"round": server_round, "zeros": sum(int((weight == 0).sum()) for weight in weights)}
    )
