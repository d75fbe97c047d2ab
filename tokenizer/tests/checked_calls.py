"""Which arrays may each compiled function read and write? Run as Python, it is held to them.

Call `install` in a process that has imported neither Numba nor the compiled path.
"""

import ctypes
import importlib
import sys
from collections.abc import Callable
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np
from emulation import MEMORY, NUMPY, PACKAGE, Entries, Word, instructions, signed

# --- calls ---------------------------------------------------------------------------------------


def _read(name: str, address: int, size: int) -> tuple[str, int, int, bool]:
    return name, int(address), int(size), False


def _written(name: str, address: int, size: int) -> tuple[str, int, int, bool]:
    return name, int(address), int(size), True


def _int64s(address: int, count: int) -> list[int]:
    return list((ctypes.c_int64 * count).from_address(address))


def _known(arrays: Any, names: str, *, written: bool = False) -> list[tuple[str, int, int, bool]]:
    """Return the arrays of these names in a tuple of addresses, each with the size it has."""
    addresses = {name: getattr(arrays, name) for name in names.split()}
    return [(name, a, MEMORY.known[a], written) for name, a in addresses.items()]


TABLES = "pages classes byte_ids byte_pairs merges displacements slots key_masks"
WORKSPACE = "near far batch tail ids keys made lowest live"


def _encode(encode: Callable[..., Any], layouts: Any) -> Callable[..., Any]:
    n_tables, n_space = len(layouts.Tables._fields), len(layouts.Workspace._fields)

    def checked(
        text: int, bounds: int, ends: int, n: int, opener: int, k: int, address: int, out: int,
        memory: int,
    ) -> Any:  # fmt: skip
        words = _int64s(memory, n_tables + n_space + 1)
        tables, width = layouts.Tables(*words[:n_tables]), words[-1]
        space = layouts.Workspace(*words[n_tables:-1])
        places = _int64s(bounds, n + 1)
        openers = n - k - (address > text + places[k]) if opener >= 0 and k < n else 0
        room = width * (places[-1] - (address - text) + openers) + 16
        assert MEMORY.room_behind(out) >= room, "the ids have less room than `encode` asks for"
        with MEMORY.allowing(
            *_known(tables, TABLES), *_known(space, WORKSPACE, written=True),
            _read("bounds", bounds, 8 * (n + 1)), _written("ends", ends, 8 * n),
            _read("memory", memory, 8 * len(words)), _written("out", out, room),
        ):  # fmt: skip
            done = encode(text, bounds, ends, n, opener, k, address, out, memory)
        return tuple(map(int, done))

    return checked


def _in_text(go_through: Callable[..., Any]) -> Callable[..., Any]:
    def checked(address: int, end: int, *rest: Any) -> Any:
        with MEMORY.allowing(_read("text", address, end - address)):
            return go_through(address, end, *rest)

    return checked


def _fill_slots(fill_slots: Callable[..., Any]) -> Callable[..., Any]:
    def checked(ranks: int, bounds: int, n_buckets: int, tables: Any) -> Any:
        n = _int64s(bounds, n_buckets + 1)[-1]
        with MEMORY.allowing(
            _read("ranks", ranks, 4 * n), _read("bounds", bounds, 8 * (n_buckets + 1)),
            *_known(tables, "merges"), *_known(tables, "slots displacements", written=True),
        ):  # fmt: skip
            return fill_slots(ranks, bounds, n_buckets, tables)

    return checked


def _decoded_size(decoded_size: Callable[..., Any]) -> Callable[..., Any]:
    def checked(ids: int, n_ids: int, tokens: Any, n_known: int) -> int:
        with MEMORY.allowing(_read("ids", ids, 4 * n_ids), *_known(tokens, "starts lengths")):
            return int(decoded_size(ids, n_ids, tokens, n_known))

    return checked


def _decode(decode: Callable[..., Any], decoded_size: Callable[..., Any]) -> Callable[..., Any]:
    def checked(ids: int, n_ids: int, tokens: Any, out: int) -> None:
        room = decoded_size(ids, n_ids, tokens, 2**32) + 7
        assert MEMORY.room_behind(out) >= room, "the bytes have less room than `decode` asks for"
        with MEMORY.allowing(
            _read("ids", ids, 4 * n_ids), *_known(tokens, "content starts lengths"),
            _written("out", out, room),
        ):  # fmt: skip
            decode(ids, n_ids, tokens, out)

    return checked


def _with_counts(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any) -> Any:
        counts = next(arg for arg in args if hasattr(arg, "table_shift"))
        tables = [arg for arg in args if hasattr(arg, "pages")]
        assert MEMORY.known[counts.store] == counts.size
        with MEMORY.allowing(
            *_known(counts, "table store used batch tail", written=True),
            *(array for each in tables for array in _known(each, "pages classes")),
        ):
            return function(*args)

    return checked


# --- installation --------------------------------------------------------------------------------


def install(near_bits: int, far_bits: int) -> None:
    """Put emulation in the place of compilation, with caches of so few sets (log2)."""
    assert "numba" not in sys.modules
    sys.modules["numba"] = ModuleType("numba")
    vars(sys.modules["numba"])["njit"] = _njit
    sys.modules[f"{PACKAGE}.instructions"] = instructions()
    layouts = importlib.import_module(f"{PACKAGE}.layouts")
    for name, value in list(vars(layouts).items()):
        if isinstance(value, np.unsignedinteger):
            setattr(layouts, name, Word(value))
    vars(layouts).update(U=Word, Int=signed, NEAR_BITS=near_bits, FAR_BITS=far_bits)
    modules = {
        name: importlib.import_module(f"{PACKAGE}.{name}")
        for name in ("merge", "pieces", "scan", "caches", "kernels", "piece_counts")
    }
    for module in modules.values():
        vars(module)["np"] = NUMPY
    _check_calls(layouts, modules["kernels"], modules["piece_counts"])
    _check_learning()
    _note_arrays()


def _njit(function: Any = None, **options: Any) -> Any:
    if options.get("cache"):
        raise RuntimeError("nothing is compiled, so nothing is kept")
    return function or (lambda function: function)


def _check_calls(layouts: Any, kernels: Any, piece_counts: Any) -> None:
    kernels._encode_pieces = _in_text(kernels._encode_pieces)
    kernels.encode = _encode(kernels.encode, layouts)
    kernels.fill_slots = _fill_slots(kernels.fill_slots)
    kernels.decoded_size = _decoded_size(kernels.decoded_size)
    kernels.decode = _decode(kernels.decode, kernels.decoded_size)
    piece_counts._count_pieces = _in_text(piece_counts._count_pieces)
    for name in ("count", "fill_table", "read_store"):
        setattr(piece_counts, name, _with_counts(getattr(piece_counts, name)))


def _check_learning() -> None:
    learner = importlib.import_module("llm_tokenizer.learner")
    for name in ("link_all", "most_frequent", "join", "fill_table"):
        setattr(learner, name, _with_entries(getattr(learner, name)))


def _with_entries(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any) -> Any:
        *others, index = args
        return function(*others, type(index)(*map(Entries, index)))

    return checked


def _note_arrays() -> None:
    """Have every array noted that is allocated for compiled functions."""
    memory = importlib.import_module(f"{PACKAGE}.memory")
    begin, token_tables, class_tables = (
        memory.Arena.__init__, memory.token_tables, memory.class_tables,
    )  # fmt: skip

    def begin_noted(self: Any, sizes: dict[str, int]) -> None:
        gaps = {name: f"behind {name}" for name in sizes}  # else one might end where another begins
        apart = [((name, size), (gaps[name], 256)) for name, size in sizes.items()]
        begin(self, dict(chain.from_iterable(apart)))
        for gap in gaps.values():
            del self.arrays[gap]
        for array in self.arrays.values():
            MEMORY.note(array)

    def token_tables_noted(vocabulary: Any) -> Any:
        tokens, arrays = token_tables(vocabulary)
        return tokens, [MEMORY.note(array) for array in arrays]

    memory.Arena.__init__ = begin_noted
    memory.token_tables = token_tables_noted
    memory.class_tables = lambda: tuple(MEMORY.note(array) for array in class_tables())
    for name in ("codec", "piece_counter", "compiled.memory"):
        vars(importlib.import_module(f"llm_tokenizer.{name}"))["np"] = _NotingNumpy()


class _NotingNumpy:
    """numpy, whose new arrays are noted."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if name not in ("empty", "zeros", "array", "concatenate"):
            return found
        return lambda *args: MEMORY.note(found(*args))
