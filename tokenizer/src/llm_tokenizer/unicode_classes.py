"""Which code points are letters, numbers and white space, pinned to one Unicode version.

Python's own tables change with every release, so a tokenizer built on them would split the same
text differently on two machines. `tools/generate_unicode_classes.py` writes the table.
"""

from functools import cache
from importlib import resources
from typing import Literal

Class = Literal["letter", "number", "space"]


@cache
def ranges(name: Class) -> tuple[tuple[int, int], ...]:
    """Return the inclusive code-point ranges of one class, ascending.

    >>> ranges("space")[:3]
    ((9, 13), (32, 32), (133, 133))
    """
    table = resources.files("llm_tokenizer").joinpath("assets/unicode_classes.txt")
    rows = (line.split() for line in table.read_text("ascii").splitlines()[1:])
    bounds = (bound.split("-") for row_name, bound in rows if row_name == name)
    return tuple((int(first, 16), int(last, 16)) for first, last in bounds)
