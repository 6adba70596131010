"""Why a SuperNode ended, in a sentence: from its log and what was asked of it."""

from __future__ import annotations

import re

_NOT_ACCEPTED = (
    "the server does not accept this node's key: it was not added there (`python -m sims.deploy "
    "add-node`), or another SuperNode uses it now, or this node was killed less than a minute ago "
    "and still counts as connected (its unit tries again in a minute)"
)
_NO_LONGER_ACCEPTED = (
    "the server no longer accepts this node: it was revoked (`python -m sims.deploy revoke`), or "
    "this device's clock is more than five minutes off (timedatectl)"
)
_SAYINGS = (
    (r"code: 2004\]", _NOT_ACCEPTED),
    (r"\b401\b|Unauthorized|UNAUTHENTICATED|authentication", _NO_LONGER_ACCEPTED),
    (r"does not recognize this SuperNode", _NO_LONGER_ACCEPTED),
    (r"CERTIFICATE_VERIFY_FAILED", "the server's certificate is not one of this federation"),
    (r"Exit Code: 302", "the private key is none that Flower can use: make a new request"),
    (r"address already in use", "another program uses the node's own port: name one with --port"),
    (r"Exit Code: 606|[Rr]untime version", "server and device have different versions of Flower"),
    (r"Exit Code: 305", "no connection to the server could be set up"),
    (r"No space left on device", "the disk is full"),
    (r"MemoryError|Cannot allocate memory", "the device has too little memory left"),
)


def farewell(log: str, status: int) -> str:
    """The sentence for a SuperNode that ended by itself.

    Args:
        log: the end of what it printed.
        status: its exit status; negative for a signal.

    >>> farewell("[code: 2004] node activation failed", 1).split(":")[0]
    "the server does not accept this node's key"
    >>> farewell("", -9)
    'the SuperNode was killed by signal 9 (out of memory, if it was the kernel)'
    """
    for pattern, saying in _SAYINGS:
        if re.search(pattern, log):
            return saying
    if status < 0:
        return f"the SuperNode was killed by signal {-status} (out of memory, if it was the kernel)"
    if status == 0:  # Flower ends so when the server answers that it does not know the node
        return _NO_LONGER_ACCEPTED
    return f"the SuperNode ended with status {status}; its last words are above"
