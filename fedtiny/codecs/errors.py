"""What a codec refuses."""

from __future__ import annotations

from fedtiny.errors import FedTinyError


class CodecError(FedTinyError):
    """A picture cannot be coded, or bytes are no code; the message says why and what to do."""
