"""How are answers put on the wire? JSON without spaces, and events that no proxy holds back."""

import json
from typing import Any

EVENT_STREAM = "text/event-stream"
EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the second is for nginx


def compact(value: Any) -> str:
    r"""Return a value as JSON, all of it ASCII: it may hold half of a surrogate pair.

    >>> compact({"text": "né\ud800"})
    '{"text":"n\\u00e9\\ud800"}'
    """
    return _encode(value)


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
