"""Events as JSON, and back: generated from their types, whatever another version wrote."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Discriminator, TypeAdapter, ValidationError

from fedtiny.errors import FedTinyError
from fedtiny.runs.adapt_events import Adapted, AdaptedTested
from fedtiny.runs.clock_events import ClockAdvanced, GroupMissing, RoundLost, TaskTimed
from fedtiny.runs.contest_events import PartCompared, ShapeCompared
from fedtiny.runs.encode_events import Encoded
from fedtiny.runs.events import (
    Adjusted,
    Banned,
    DeviceDescribed,
    Doubted,
    Evaluated,
    Event,
    Exchanged,
    Metered,
    ModelPrepared,
    NodeIgnored,
    Pretrained,
    RoundFinished,
    RunFinished,
    RunStarted,
    Stopped,
    TierEvaluated,
    TierGiven,
    TierMissing,
)
from fedtiny.runs.fields import complaint

Kind = (
    RunStarted
    | DeviceDescribed
    | Pretrained
    | ModelPrepared
    | Exchanged
    | Doubted
    | Banned
    | NodeIgnored
    | Metered
    | Evaluated
    | TierEvaluated
    | TierGiven
    | ShapeCompared
    | PartCompared
    | TierMissing
    | Adjusted
    | RoundFinished
    | TaskTimed
    | ClockAdvanced
    | GroupMissing
    | RoundLost
    | Stopped
    | Adapted
    | AdaptedTested
    | Encoded
    | RunFinished
)
"""Each of them."""

_KINDS: TypeAdapter[Any] = TypeAdapter(Annotated[Kind, Discriminator("event")])


class EventError(FedTinyError):
    """A text is no event; the message says which field is wrong."""


class UnknownKindError(EventError):
    """An event of a kind this version does not have."""


def to_json(event: Event) -> dict[str, Any]:
    """Plain types only; :func:`from_json` is the inverse.

    >>> from fedtiny.runs.events import RunFinished
    >>> to_json(RunFinished(3, 1.5))
    {'event': 'end', 'round': 3, 'seconds': 1.5}
    """
    fields = _KINDS.dump_python(event, mode="json")
    return {"event": fields.pop("event"), **fields}


def from_json(text: bytes) -> tuple[Event, list[str]]:
    """The event, and its fields that this version does not know, which are left out.

    Args:
        text: one JSON object in UTF-8, perhaps of another version.

    Raises:
        UnknownKindError: the event is of no kind above.
        EventError: no JSON, a field is missing, or one is of the wrong type or out of range.

    >>> from_json(b'{"event": "end", "round": 3, "seconds": 1.5, "watts": 2}')
    (RunFinished(round=3, seconds=1.5, event='end'), ['end.watts'])
    """
    try:
        return _KINDS.validate_json(text), []
    except ValidationError as error:
        extra = [one["loc"] for one in error.errors() if one["type"] == _EXTRA]
        if not extra:
            raise _event_error(error) from error
    try:
        fields = json.loads(text)
        for _, *path, name in extra:
            _inner(fields, path).pop(name, None)
        known = _KINDS.validate_json(json.dumps(fields))
    except ValidationError as error:
        raise _event_error(error) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # a field twice, a lone surrogate: what one JSON reader takes and the other does not
        raise EventError(f"no JSON object of one meaning: {error!s:.200}") from error
    return known, [".".join(map(str, where)) for where in extra]


_EXTRA = "unexpected_keyword_argument"
_UNKNOWN = "union_tag_invalid"


def _inner(fields: Any, path: list[int | str]) -> Any:  # noqa: ANN401 - any JSON value
    for name in path:
        fields = fields[name]
    return fields


def _event_error(error: ValidationError) -> EventError:
    (first, *_) = error.errors()
    if first["type"] == _UNKNOWN:
        return UnknownKindError(str(first["ctx"]["tag"]))
    return EventError(complaint(error))
