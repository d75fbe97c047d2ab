"""The compiled path as plain Python: does each access to memory lie in an array of the call?

`install` puts this in the place of Numba and of `compiled.instructions`, so call it in a process
that has imported neither. Each load and store is looked up among the arrays of the running call.
Words behave as Numba's: they wrap, and meet words alone. What LLVM leaves undefined is an error.
"""

import ctypes
import importlib
import sys
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import numpy as np

PACKAGE = "llm_tokenizer.compiled"
LEADS_OF_2 = (*range(0xC4, 0xCA), 0xD0, 0xD1, 0xD3)  # all of whose characters are letters
LEADS_OF_3 = (*range(0xE5, 0xE9), 0xEB, 0xEC)
IS_IN: dict[str, Callable[[int], bool]] = {
    "ascii_letters": lambda byte: chr(byte).isascii() and chr(byte).isalpha(),
    "ascii_digits": lambda byte: chr(byte) in "0123456789",
    "ascii_spaces": lambda byte: chr(byte) in "\t\n\v\f\r ",
    "blanks": lambda byte: chr(byte) == " ",
    "apostrophes": lambda byte: chr(byte) == "'",
    "continuations": lambda byte: byte >> 6 == 0b10,
    "wide_leads": lambda byte: byte >> 6 == 0b11,
    "letter_leads_of_2": LEADS_OF_2.__contains__,
    "letter_leads_of_3": LEADS_OF_3.__contains__,
}


class AccessError(Exception):
    """An access outside of the arrays, or an operation that LLVM leaves undefined."""


# --- words ---------------------------------------------------------------------------------------


def _checked(name: str) -> Callable[["Word", Any], "Word"]:
    operation = getattr(int, name)

    def operate(self: "Word", other: Any) -> "Word":
        if not isinstance(other, Word):
            raise AccessError(f"{name} of a word and the signed {other!r}, a float to Numba")
        if name in ("__lshift__", "__rshift__") and other >= 64:
            raise AccessError(f"a shift by {int(other)}")
        return Word(operation(self, other))

    return operate


class Word(int):
    """An unsigned number of 64 bits."""

    def __new__(cls, value: Any) -> "Word":
        return int.__new__(cls, int(value) & 2**64 - 1)

    def __invert__(self) -> "Word":
        return Word(~int(self))

    def _refuse(self, other: Any) -> NoReturn:
        raise AccessError(f"the signed {other!r} meets a word: a float to Numba")


for _name in ("add", "sub", "mul", "and", "or", "xor", "lshift", "rshift"):
    setattr(Word, f"__{_name}__", _checked(f"__{_name}__"))
    setattr(Word, f"__r{_name}__", Word._refuse)


def _unsigned(bits: int) -> Callable[[Any], Word]:
    return lambda value: Word(int(value) & 2**bits - 1)


def _signed(value: Any) -> int:
    return (int(value) + 2**63) % 2**64 - 2**63


NUMPY = SimpleNamespace(
    uint8=_unsigned(8), uint16=_unsigned(16), uint32=_unsigned(32), uint64=Word, int64=_signed
)

# --- memory --------------------------------------------------------------------------------------


class _Array(NamedTuple):
    start: int
    end: int
    name: str
    is_writable: bool
    content: Any  # a memoryview


class Memory:
    """The arrays that the running call may read and write."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}  # address of an array that was allocated -> its bytes
        self.accesses = 0
        self._arrays: list[_Array] = []  # in the order of their addresses, as are their starts
        self._starts: list[int] = []

    def note(self, array: Any) -> Any:
        """Remember an array that was allocated, as the last one, and return it."""
        self.known.pop(array.ctypes.data, None)
        self.known[array.ctypes.data] = array.nbytes
        return array

    def room_behind(self, address: int) -> int:
        """Return the bytes from an address to the end of the array it lies in."""
        for start, size in reversed(self.known.items()):  # those at the front may be freed
            if start <= address <= start + size:
                return start + size - address
        return 0

    @contextmanager
    def allowing(self, *arrays: tuple[str, int, int, bool]) -> Iterator[None]:
        """Allow access to arrays as well: name, address, size in bytes, whether it is written."""
        before, self._arrays = self._arrays, list(self._arrays)
        for name, start, size, is_writable in arrays:
            if size > 0:
                raw = (ctypes.c_char * size).from_address(start)
                content = memoryview(raw).cast("B")
                insort(self._arrays, _Array(start, start + size, name, is_writable, content))
        for left, right in zip(self._arrays, self._arrays[1:], strict=False):
            assert left.end <= right.start, (left.name, right.name)
        self._starts = [array.start for array in self._arrays]
        try:
            yield
        finally:
            self._arrays, self._starts = before, [array.start for array in before]

    def read(self, address: int, size: int, alignment: int = 1) -> memoryview:
        return self._find(address, size, alignment, to_write=False)

    def write(self, address: int, value: int, size: int, alignment: int = 1) -> None:
        found = self._find(address, size, alignment, to_write=True)
        found[:] = (int(value) & 2 ** (8 * size) - 1).to_bytes(size, "little")

    def _find(self, address: int, size: int, alignment: int, to_write: bool) -> memoryview:
        self.accesses += 1
        k = bisect_right(self._starts, address) - 1
        what = "writes" if to_write else "reads"
        if k < 0:
            raise AccessError(f"{what} {size} bytes before all arrays")
        start, end, name, is_writable, content = self._arrays[k]
        place = address - start
        if address + size > end:
            raise AccessError(f"{what} {size} bytes at {place} of {name}, which has {end - start}")
        if to_write and not is_writable:
            raise AccessError(f"{what} {size} bytes of {name}, which is read-only")
        if address % alignment:
            raise AccessError(f"{what} {size} bytes at {place} of {name}, which is not aligned")
        return content[place : place + size]


MEMORY = Memory()


class Entries:
    """A table of numpy's whose indices are checked: to Python and Numba, -1 is the last entry."""

    def __init__(self, array: Any) -> None:
        self._array = array.view(np.recarray) if array.dtype.names else array

    def __len__(self) -> int:
        return len(self._array)

    def _index(self, k: Any) -> int:
        MEMORY.accesses += 1
        if not 0 <= k < len(self._array):
            raise AccessError(f"entry {k} of a table of {len(self._array)}")
        return int(k)

    def __getitem__(self, k: Any) -> Any:
        return self._array[self._index(k)]

    def __setitem__(self, k: Any, entry: Any) -> None:
        self._array[self._index(k)] = entry


# --- instructions --------------------------------------------------------------------------------


def _number(content: memoryview) -> Word:
    return Word(int.from_bytes(content, "little"))


def _reader(size: int) -> Callable[[int, int], Word]:
    return lambda table, k: _number(MEMORY.read(table + size * int(k), size, size))


def _writer(size: int) -> Callable[[int, int, int], None]:
    return lambda table, k, entry: MEMORY.write(table + size * int(k), entry, size, size)


def _copy_two_words(source: int, target: int) -> None:
    MEMORY.write(target, int.from_bytes(MEMORY.read(source, 16), "little"), 16)


def _words_at(address: int, count: int) -> tuple[int, ...]:
    return tuple(_signed(_number(MEMORY.read(address + 8 * k, 8))) for k in range(count))


def _trailing_zeros(word: Word) -> int:
    if not word:
        raise AccessError("trailing_zeros of 0")
    return (int(word) & -int(word)).bit_length() - 1


def _leading_zeros(word: Word) -> int:
    if not word:
        raise AccessError("leading_zeros of 0")
    return 64 - int(word).bit_length()


def _lowest_where(address: int, bits: Word) -> Word:
    entries = MEMORY.read(address, 128).cast("I")
    chosen = [entry for k, entry in enumerate(entries) if int(bits) >> k & 1]
    return Word(min(chosen, default=2**32 - 1))


def _bytes_where(is_in: Callable[[int], bool]) -> Callable[[int], Word]:
    table = np.array([is_in(byte) for byte in range(256)])

    def bytes_where(address: int) -> Word:
        block = np.frombuffer(MEMORY.read(address, 64), np.uint8)
        return _number(memoryview(np.packbits(table[block], bitorder="little")))

    return bytes_where


def _instructions() -> ModuleType:
    module = ModuleType(f"{PACKAGE}.instructions")
    of_tables = {f"get{8 * size}": _reader(size) for size in (1, 2, 4, 8)}
    of_masks = {name: _bytes_where(is_in) for name, is_in in IS_IN.items()}
    to_tables = {f"put{8 * size}": _writer(size) for size in (1, 2, 4, 8)}
    others = {
        "BLOCK": 64,
        "load_word": lambda address: _number(MEMORY.read(address, 8)),
        "store_word": lambda address, word: MEMORY.write(address, word, 8),
        "copy_two_words": _copy_two_words,
        "words_at": _words_at,
        "prefetch": lambda address: None,
        "is_unlikely": bool,
        "trailing_zeros": _trailing_zeros,
        "leading_zeros": _leading_zeros,
        "lowest_where": _lowest_where,
    }
    vars(module).update(of_tables | of_masks | to_tables | others)
    return module


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
    sys.modules[f"{PACKAGE}.instructions"] = _instructions()
    layouts = importlib.import_module(f"{PACKAGE}.layouts")
    for name, value in list(vars(layouts).items()):
        if isinstance(value, np.unsignedinteger):
            setattr(layouts, name, Word(value))
    vars(layouts).update(U=Word, Int=_signed, NEAR_BITS=near_bits, FAR_BITS=far_bits)
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
