"""Ask every node again and again, as Flower's strategies do, and write down how long it took."""

from __future__ import annotations

import json
import time
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Write the seconds of each exchange, a JSON list, to the file that the run config names."""
    settings = context.run_config
    while len(nodes := sorted(grid.get_node_ids())) < int(settings["nodes"]):
        time.sleep(0.1)
    seconds = []
    for round in range(1, int(settings["exchanges"]) + 1):
        started = time.monotonic()
        messages = [Message(RecordDict(), node, "train", group_id=str(round)) for node in nodes]
        replies = list(grid.send_and_receive(messages, timeout=600))
        assert len(replies) == len(nodes)
        seconds.append(time.monotonic() - started)
    Path(str(settings["out"])).write_text(json.dumps(seconds), encoding="utf-8")
