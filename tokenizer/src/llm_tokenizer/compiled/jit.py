"""How functions are compiled: by Numba, on their first call, and kept on disk.

Numba keeps what it has compiled beside the file of a function, until that file changes. What is
kept here contains code of several files, so it is kept until any of them changes.
"""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

njit: Any = numba.njit  # whose types are not those of the functions that it returns
# Each way to call a function takes time to compile, so there are none that nobody needs.
NOT_FROM_C = {"no_cfunc_wrapper": True}
NOT_FROM_PYTHON = NOT_FROM_C | {"no_cpython_wrapper": True}
PACKAGE = Path(__file__).parents[1]


def kept(function: Function) -> Function:
    """Compile a function that Python calls, and keep the outcome on disk if that is possible."""
    try:
        dispatcher = njit(nogil=True, cache=True, **NOT_FROM_C)(function)
    except RuntimeError:  # Numba found no folder that it can write to
        return njit(nogil=True, **NOT_FROM_C)(function)
    folder = Path(inspect.getfile(function)).parent
    dispatcher._cache._cache_file._source_stamp = _stamp(folder)  # in place of that of one file
    return dispatcher


def compiled(function: Function) -> Function:
    """Compile a function that compiled functions call."""
    return njit(**NOT_FROM_PYTHON)(function)


def inlined(function: Function) -> Function:
    """Compile a function into each of those that call it."""
    return njit(forceinline=True, **NOT_FROM_PYTHON)(function)


@cache
def _stamp(folder: Path) -> str:
    """Return the sha256 of the source files in a folder and in this package."""
    files = sorted({*folder.glob("*.py"), *PACKAGE.rglob("*.py")})
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
