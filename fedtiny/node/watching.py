"""Watch a SuperNode and its executor: relay their words, feed systemd's watchdog, say why they end.

``python -m fedtiny.node.watching PORT COMMAND…``. This process lives as long as the node, on
devices with 512 MB: it imports nothing but a few small parts of the standard library.
"""

from __future__ import annotations

import os
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


def watch(node: Sequence[str], executor: Sequence[str], port: int) -> int:
    """Run both until one of them ends or this process is told to; the exit status to end with.

    Args:
        node: command of the SuperNode.
        executor: command of what runs its clients.
        port: of the SuperNode's interface for clients, on 127.0.0.1.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    words, said = os.pipe()
    processes = [_start(command, said) for command in (node, executor)]
    os.close(said)
    tail: deque[str] = deque(maxlen=60)
    reader = threading.Thread(target=_relay, args=(words, tail), daemon=True)
    reader.start()
    beat = time.monotonic()
    while not any(one.poll() is not None for one in processes) and not stop.wait(0.5):
        if time.monotonic() >= beat:
            beat = time.monotonic() + _BEAT_S
            if _answers(port):
                notify("WATCHDOG=1")
    ended = [one.poll() for one in processes]
    for one in processes:
        _end(one)
    if stop.is_set():
        return 0
    reader.join(timeout=_ANSWER_S)
    saying = _saying(ended, "\n".join(tail))
    print(f"error: {saying}", file=sys.stderr, flush=True)
    notify(f"STATUS={saying}")
    return _FAILED


def _start(command: Sequence[str], said: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
    )


def _relay(words: int, tail: deque[str]) -> None:
    with os.fdopen(words, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            tail.append(line)
            if _JOINED in line:
                notify("STATUS=connected")
            print(line, end="", flush=True)


def _saying(ended: Sequence[int | None], tail: str) -> str:
    node, executor = ended
    if node is not None:
        return farewell(tail, node)
    return (
        f"what runs this node's clients ended with status {executor} (a negative one is a signal; "
        "-9 may be the kernel's, out of memory); its last words are above"
    )


def _answers(port: int) -> bool:
    """Whether the node's own HTTP interface is alive."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as line:
            line.settimeout(_ANSWER_S)
            line.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in line.recv(64)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _executor(port: int) -> list[str]:
    """Its command, of this very Python; nothing in the current folder is taken for ours."""
    return [sys.executable, "-P", "-m", "clients.executor", f"127.0.0.1:{port}"]


if __name__ == "__main__":
    at = int(sys.argv[1])
    sys.exit(watch(sys.argv[2:], _executor(at), at))
