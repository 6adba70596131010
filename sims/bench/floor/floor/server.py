"""Ask every node again and again, as Flower's strategies do."""

from __future__ import annotations

import time
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A line for each exchange, once it is over, in the file that the run config names."""
    settings = context.run_config
    while len(nodes := sorted(grid.get_node_ids())) < int(settings["nodes"]):
        time.sleep(0.1)
    with Path(str(settings["out"])).open("w", encoding="utf-8", buffering=1) as out:
        for round in range(1, int(settings["exchanges"]) + 1):
            messages = [Message(RecordDict(), node, "train", group_id=str(round)) for node in nodes]
            replies = list(grid.send_and_receive(messages, timeout=600))
            assert len(replies) == len(nodes)
            out.write(f"{round}\n")
