"""Watch a SuperNode: pass its words on, feed systemd's watchdog, say why it ended.

``python -m fedtiny.node.watching PORT COMMAND…``. This process lives as long as the node, on
devices with 512 MB: it imports nothing but a few small parts of the standard library.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence

from fedtiny.node.farewell import farewell
from fedtiny.node.watchdog import notify

_BEAT_S = 15.0  # between looks at the node; systemd's patience is eight of them
_ANSWER_S = 5.0
_STOP_S = 15.0
_JOINED = "SuperNode ID"
_FAILED = 2


def watch(command: Sequence[str], port: int) -> int:
    """Run ``command`` until it ends or this process is told to; the exit status to end with.

    Args:
        command: of the SuperNode.
        port: of its interface for clients, on 127.0.0.1.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    tail: deque[str] = deque(maxlen=60)
    reader = threading.Thread(target=_relay, args=(process, tail), daemon=True)
    reader.start()
    beat = time.monotonic()
    while process.poll() is None and not stop.wait(0.5):
        if time.monotonic() >= beat:
            beat = time.monotonic() + _BEAT_S
            if _answers(port):
                notify("WATCHDOG=1")
    if stop.is_set():
        _end(process)
        return 0
    reader.join(timeout=_ANSWER_S)
    saying = farewell("\n".join(tail), process.returncode)
    print(f"error: {saying}", file=sys.stderr, flush=True)
    notify(f"STATUS={saying}")
    return _FAILED


def _relay(process: subprocess.Popen[str], tail: deque[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        tail.append(line)
        if _JOINED in line:
            notify("STATUS=connected")
        print(line, end="", flush=True)


def _answers(port: int) -> bool:
    """Whether the node's own HTTP interface is alive."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as line:
            line.settimeout(_ANSWER_S)
            line.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in line.recv(64)
    except OSError:
        return False


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(watch(sys.argv[2:], int(sys.argv[1])))
