"""Which rows or columns of a tensor are drawn? START:STOP, and whether they are there."""

import re
from collections.abc import Sequence

from gpt2.errors import InputError

FIRST = 300  # rows and columns where no others are asked for

Window = tuple[int | None, int | None]  # the first, and the one after the last; None: the ends

FORM = re.compile(r"([0-9]{0,18}):([0-9]{0,18})")


def parse_window(flag: str, text: str) -> Window:
    """Read START:STOP, of which either may be left out.

    >>> parse_window("--rows", "100:"), parse_window("--rows", "0:5")
    ((100, None), (0, 5))

    Raises:
        InputError: It has another form.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{flag} must be START:STOP, such as 0:300, 100: or :, got {text!r}")
    start, stop = (int(each) if each else None for each in match.groups())
    return start, stop


def within(
    window: Window | None, side: str, name: str, shape: Sequence[int], *, axis: int
) -> tuple[int, int]:
    """Return the start and the stop of a window; of the first rows or columns if there is none.

    Args:
        window: What is asked for.
        side: "rows" or "columns", for the error.
        name: That of the tensor, for the error.
        shape: That of the tensor, for the error.
        axis: 0 for rows, 1 for columns.
    Raises:
        InputError: The window is empty, or reaches beyond the tensor.
    """
    size = shape[axis]
    if window is None:
        return 0, min(FIRST, size)
    start = 0 if window[0] is None else window[0]
    stop = size if window[1] is None else window[1]
    if not 0 <= start < stop <= size:
        raise InputError(
            f"{side} must be START:STOP with 0 <= START < STOP <= {size}, since {name} is "
            f"{shown_shape(shape)}, got {start}:{stop}"
        )
    return start, stop


def shown_shape(shape: Sequence[int]) -> str:
    """Return a shape as text.

    >>> shown_shape((768, 2304))
    '768 x 2304'
    """
    return " x ".join(map(str, shape))
