"""The compiled path as plain Python: does each access to memory lie in an array of the call?

`checked_calls.install` puts this in the place of Numba and of `compiled.instructions`. Each load
and store is looked up among the arrays of the running call. Words behave
as Numba's: they wrap, and meet words alone. What LLVM leaves undefined is an error.
"""

import ctypes
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def signed(value: Any) -> int:
    return (int(value) + 2**63) % 2**64 - 2**63


NUMPY = SimpleNamespace(
    uint8=_unsigned(8), uint16=_unsigned(16), uint32=_unsigned(32), uint64=Word, int64=signed
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
    return tuple(signed(_number(MEMORY.read(address + 8 * k, 8))) for k in range(count))


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


def instructions() -> ModuleType:
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
