"""The machine instructions that Python has no word for, made callable from Numba-compiled code.

Source: LLVM Language Reference Manual (load, store, icmp on vectors, ctlz, cttz).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 64  # bytes that an instruction which returns a mask looks at: as many as a word has bits

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_BYTE, BLOCK)


def _load(builder: Any, address: Any, loaded: Any) -> Any:
    value = builder.load(builder.inttoptr(address, loaded.as_pointer()))
    value.align = 1
    return value


@intrinsic
def load_word(_context: Any, address: Any) -> Any:
    """Return the 8 bytes at `address`, which need not be aligned, as uint64."""
    return types.uint64(address), lambda _, builder, __, args: _load(builder, args[0], _WORD)


@intrinsic
def store_word(_context: Any, address: Any, word: Any) -> Any:
    """Write the 8 bytes of `word` to `address`, which need not be aligned."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], _WORD.as_pointer()), align=1)

    return types.void(address, types.uint64), generate


def _reader(bits: int, returned: Any) -> Any:
    """Return an instruction: (aligned address of a table, index) -> the entry, of so many bits."""

    @intrinsic
    def read(_context: Any, table: Any, index: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            entry = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            return builder.load(builder.gep(entry, [args[1]]))

        return returned(table, index), generate

    return read


def _writer(bits: int, taken: Any) -> Any:
    """Return an instruction: (aligned address of a table, index, entry) -> None."""

    @intrinsic
    def write(_context: Any, table: Any, index: Any, _entry: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            entry = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            builder.store(args[2], builder.gep(entry, [args[1]]))

        return types.void(table, index, taken), generate

    return write


get8, put8 = _reader(8, types.uint8), _writer(8, types.uint8)
get32, put32 = _reader(32, types.uint32), _writer(32, types.uint32)
get64, put64 = _reader(64, types.uint64), _writer(64, types.uint64)
put16 = _writer(16, types.uint16)


@intrinsic
def trailing_zeros(_context: Any, word: Any) -> Any:
    """Return how many low bits of `word`, which is not 0, are 0: the index of its lowest 1."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def leading_zeros(_context: Any, word: Any) -> Any:
    """Return how many high bits of `word`, which is not 0, are 0."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def lowest_where(_context: Any, address: Any, bits: Any) -> Any:
    """Return the least of the 64 uint32 at `address` whose bit is set in `bits`, or 2**32 - 1."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), BLOCK)
        chosen = builder.bitcast(args[1], ir.VectorType(ir.IntType(1), BLOCK))
        values = _load(builder, args[0], vector)
        values = builder.select(chosen, values, ir.Constant(vector, [2**32 - 1] * BLOCK))
        name = "llvm.vector.reduce.umin.v64i32"
        function = builder.module.declare_intrinsic(
            name, (), ir.FunctionType(ir.IntType(32), [vector])
        )
        return builder.call(function, [values])

    return types.uint32(address, types.uint64), generate


def _bytes_where(condition: Callable[[Any, Any, Callable[[int], Any]], Any]) -> Any:
    """Return an instruction: the 64 bytes at an address -> uint64, bit k set where byte k fits."""

    @intrinsic
    def bytes_where(_context: Any, address: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            def all_of(value: int) -> Any:
                return ir.Constant(_VECTOR, [value] * BLOCK)

            bits = condition(builder, _load(builder, args[0], _VECTOR), all_of)
            return builder.bitcast(bits, _WORD)

        return types.uint64(address), generate

    return bytes_where


def _between(first: int, last: int) -> Callable[[Any, Any, Callable[[int], Any]], Any]:
    return lambda builder, block, all_of: builder.icmp_unsigned(
        "<=", builder.sub(block, all_of(first)), all_of(last - first)
    )


def _letter(builder: Any, block: Any, all_of: Callable[[int], Any]) -> Any:
    return _between(ord("a"), ord("z"))(builder, builder.or_(block, all_of(0x20)), all_of)


def _space(builder: Any, block: Any, all_of: Callable[[int], Any]) -> Any:
    breaks = _between(ord("\t"), ord("\r"))(builder, block, all_of)
    return builder.or_(breaks, _between(ord(" "), ord(" "))(builder, block, all_of))


ascii_letters = _bytes_where(_letter)
ascii_digits = _bytes_where(_between(ord("0"), ord("9")))
ascii_spaces = _bytes_where(_space)
blanks = _bytes_where(_between(ord(" "), ord(" ")))
apostrophes = _bytes_where(_between(ord("'"), ord("'")))
continuations = _bytes_where(_between(0x80, 0xBF))  # all bytes of a UTF-8 character but its first
wide_leads = _bytes_where(_between(0xC0, 0xFF))  # the first bytes of the characters beyond ASCII
