"""Why a peer is not measured."""

from fedtiny.errors import FedTinyError


class NoPeerError(FedTinyError):
    """A peer is not there, or cannot do a work here; the message says why."""
