"""A client process as ``flwr-clientapp`` lives: start, load the app, answer one message, end.

``python -m sims.bench.client_process STAGE [MESSAGE]``: ``bare`` stops before the app is loaded,
``load`` after that, ``answer`` after the reply to MESSAGE (``client.write_message``); ``forked``
answers in a fork of a prepared process, as our nodes do, and measures the fork alone.
Prints what it measured and which heavy modules it holds as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from flwr.clientapp import ClientApp
from flwr.clientapp.client_app import LoadClientAppError
from flwr.supercore.object_ref import load_app

HEAVY = ("matplotlib", "pandas", "ray", "torch")
"""What a device should never hold."""


BARE = "flwr.supernode.cli"
"""What Flower's own command imports."""


def load() -> ClientApp:
    """The client app, found as Flower finds it."""
    app = load_app("clients.app:app", LoadClientAppError, None)
    assert isinstance(app, ClientApp)
    return app


def answer(app: ClientApp, path: Path, node: Mapping[str, str] = MappingProxyType({})) -> None:
    """Reply to the message in ``path``, down to the bytes that Flower would send.

    The node's state holds the model, as it does after the first message of a run.

    Args:
        app: of the client.
        path: of the message.
        node: what the node's config says besides its partition, e.g. where its data lie.
    """
    import numpy as np  # noqa: PLC0415 - what is imported when is what this process measures
    from flwr.app import Context, Message, RecordDict  # noqa: PLC0415 - what is imported when is what this process measures

    from clients.records import to_record, wire_bytes  # noqa: PLC0415 - what is imported when is what this process measures
    from clients.state import receive_model  # noqa: PLC0415 - what is imported when is what this process measures
    from fedtiny.wire.packet import Packet  # noqa: PLC0415 - what is imported when is what this process measures
    from sims.grids.identity import assume_identity  # noqa: PLC0415 - what is imported when is what this process measures

    assume_identity()
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    facts = json.loads(str(arrays.pop("facts")))
    settings = {**facts["node_config"], **node}
    context = Context(1, 1, settings, RecordDict(), facts["run_config"])
    receive_model(context, Packet(scalars={"graph": facts["graph"]}))
    message = Message(to_record(Packet(arrays, facts["scalars"])), 1, facts["type"])
    message.metadata.__dict__["_message_id"] = "1"
    reply = app(message=message, context=context)
    if reply.has_error():
        raise SystemExit(reply.error.reason)
    wire_bytes(reply.content)


def peak_rss_bytes() -> int:
    """Most memory this process ever had resident (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def forked(path: Path) -> dict[str, float]:
    """Answer the message in ``path`` in a fork of this process; what that took."""
    import_module("clients.executor").prepare()
    reader, writer = os.pipe()
    started = time.perf_counter()
    if not (child := os.fork()):
        try:
            answer(load(), path)
            os.write(writer, str(peak_rss_bytes()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        peak = int(told.read())
    usage = os.wait4(child, 0)[2]
    return {
        "peak_rss_bytes": peak,
        "wall_s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
    }


def measured(stage: str, message: Path | None) -> dict[str, float]:
    """Live to a stage."""
    if stage == "forked" and message:
        return forked(message)
    import_module(BARE)
    if stage != "bare":
        loaded = load()
        if message:
            answer(loaded, message)
    return {"peak_rss_bytes": peak_rss_bytes()}


if __name__ == "__main__":
    reached, *rest = sys.argv[1:]
    found = measured(reached, Path(rest[0]) if rest else None)
    print(json.dumps({**found, "modules": [name for name in HEAVY if name in sys.modules]}))
