"""The machine instructions that Python has no word for, made callable from Numba-compiled code.

Source: LLVM Language Reference Manual (load, store, icmp on vectors, ctlz, cttz).
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import extending, types

BLOCK = 64  # bytes that an instruction which returns a mask looks at: as many as a word has bits

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_BYTE, BLOCK)

# (builder, block, what makes a block of one value) -> a bit for each byte of the block
Condition = Callable[[Any, Any, Callable[[int], Any]], Any]


def _instruction(typing: Callable[..., Any]) -> Any:
    """Make an instruction of a function that returns its types, and what generates its code.

    The arguments that it is called with are those of the function but for the first.
    """
    return extending.intrinsic(prefer_literal=True)(typing)


def _load(builder: Any, address: Any, loaded: Any) -> Any:
    value = builder.load(builder.inttoptr(address, loaded.as_pointer()))
    value.align = 1
    return value


@_instruction
def load_word(_context: Any, address: Any) -> Any:
    """Return the 8 bytes at `address`, which need not be aligned, as uint64."""
    return types.uint64(address), lambda _, builder, __, args: _load(builder, args[0], _WORD)


@_instruction
def store_word(_context: Any, address: Any, word: Any) -> Any:
    """Write the 8 bytes of `word` to `address`, which need not be aligned."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], _WORD.as_pointer()), align=1)

    return types.void(address, types.uint64), generate


@_instruction
def prefetch(_context: Any, address: Any) -> Any:
    """Begin to load the cache line at `address`, to be read soon; any address will do."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        pointer, flag = _BYTE.as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer], ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        )
        to_read, keep, data = flag(0), flag(3), flag(1)
        builder.call(function, [builder.inttoptr(args[0], pointer), to_read, keep, data])

    return types.void(address), generate


@_instruction
def words_at(_context: Any, address: Any, count: Any) -> Any:
    """Return so many words, a constant, at an address, as a tuple of int64."""
    returned: Any = types.UniTuple(types.int64, count.literal_value)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        places = [_WORD(8 * k) for k in range(count.literal_value)]
        words = [_load(builder, builder.add(args[0], place), _WORD) for place in places]
        return context.make_tuple(builder, returned, words)

    return returned(address, count), generate


@_instruction
def is_unlikely(_context: Any, condition: Any) -> Any:
    """Return a condition; what follows need not wait for it, as it is taken to be false."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        bit = ir.IntType(1)
        function = builder.module.declare_intrinsic(
            "llvm.expect.i1", (), ir.FunctionType(bit, [bit, bit])
        )
        return builder.call(function, [args[0], bit(0)])

    return types.boolean(condition), generate


@_instruction
def copy_two_words(_context: Any, source: Any, target: Any) -> Any:
    """Copy 16 bytes, which need not be aligned."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        two = ir.VectorType(_WORD, 2)
        pointer = builder.inttoptr(args[1], two.as_pointer())
        builder.store(_load(builder, args[0], two), pointer, align=1)

    return types.void(source, target), generate


def _reader(bits: int, returned: Any) -> Any:
    """Return an instruction: (aligned address of a table, index) -> the entry, of so many bits."""

    @_instruction
    def read(_context: Any, table: Any, index: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            entry = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            return builder.load(builder.gep(entry, [args[1]]))

        return returned(table, index), generate

    return read


def _writer(bits: int, taken: Any) -> Any:
    """Return an instruction: (aligned address of a table, index, entry) -> None."""

    @_instruction
    def write(_context: Any, table: Any, index: Any, _entry: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            entry = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            builder.store(args[2], builder.gep(entry, [args[1]]))

        return types.void(table, index, taken), generate

    return write


get8, put8 = _reader(8, types.uint8), _writer(8, types.uint8)
get32, put32 = _reader(32, types.uint32), _writer(32, types.uint32)
get64, put64 = _reader(64, types.uint64), _writer(64, types.uint64)
get16, put16 = _reader(16, types.uint16), _writer(16, types.uint16)


@_instruction
def trailing_zeros(_context: Any, word: Any) -> Any:
    """Return how many low bits of `word`, which is not 0, are 0: the index of its lowest 1."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@_instruction
def leading_zeros(_context: Any, word: Any) -> Any:
    """Return how many high bits of `word`, which is not 0, are 0."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


LANES = 8  # of 32 bits, as many as AVX2 has


@_instruction
def lowest_where(_context: Any, address: Any, bits: Any) -> Any:
    """Return the least of the 32 uint32 at `address` whose bit is set in `bits`, or 2**32 - 1."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        lane, vector = ir.IntType(32), ir.VectorType(ir.IntType(32), LANES)
        low = builder.trunc(args[1], lane)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), low, lane(0))
        spread = builder.shuffle_vector(one, one, ir.Constant(vector, [0] * LANES))
        minimum = builder.module.declare_intrinsic(
            "llvm.umin.v8i32", (), ir.FunctionType(vector, [vector, vector])
        )
        none = ir.Constant(vector, [2**32 - 1] * LANES)
        lowest = none
        for first in range(0, 32, LANES):
            bit = ir.Constant(vector, [1 << (first + k) for k in range(LANES)])
            chosen = builder.icmp_unsigned("==", builder.and_(spread, bit), bit)
            values = _load(builder, builder.add(args[0], _WORD(4 * first)), vector)
            values = builder.select(chosen, values, none)
            lowest = builder.call(minimum, [lowest, values])
        least = builder.module.declare_intrinsic(
            "llvm.vector.reduce.umin.v8i32", (), ir.FunctionType(lane, [vector])
        )
        return builder.call(least, [lowest])

    return types.uint32(address, types.uint64), generate


def _bytes_where(condition: Condition) -> Any:
    """Return an instruction: the 64 bytes at an address -> uint64, bit k set where byte k fits."""

    @_instruction
    def bytes_where(_context: Any, address: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            def all_of(value: int) -> Any:
                return ir.Constant(_VECTOR, [value] * BLOCK)

            bits = condition(builder, _load(builder, args[0], _VECTOR), all_of)
            return builder.bitcast(bits, _WORD)

        return types.uint64(address), generate

    return bytes_where


def _between(first: int, last: int) -> Condition:
    return lambda builder, block, all_of: builder.icmp_unsigned(
        "<=", builder.sub(block, all_of(first)), all_of(last - first)
    )


def _letter(builder: Any, block: Any, all_of: Callable[[int], Any]) -> Any:
    return _between(ord("a"), ord("z"))(builder, builder.or_(block, all_of(0x20)), all_of)


def _any_of(*ranges: tuple[int, int]) -> Condition:
    def condition(builder: Any, block: Any, all_of: Callable[[int], Any]) -> Any:
        parts = [_between(first, last)(builder, block, all_of) for first, last in ranges]
        return reduce(builder.or_, parts)

    return condition


ascii_letters = _bytes_where(_letter)
ascii_digits = _bytes_where(_between(ord("0"), ord("9")))
ascii_spaces = _bytes_where(_any_of((ord("\t"), ord("\r")), (ord(" "), ord(" "))))
blanks = _bytes_where(_between(ord(" "), ord(" ")))
apostrophes = _bytes_where(_between(ord("'"), ord("'")))
continuations = _bytes_where(_between(0x80, 0xBF))  # all bytes of a UTF-8 character but its first
wide_leads = _bytes_where(_between(0xC0, 0xFF))  # the first bytes of the characters beyond ASCII
# First bytes, of 2 and of 3, of which all characters are letters: of Latin, Cyrillic, CJK, Hangul.
letter_leads_of_2 = _bytes_where(_any_of((0xC4, 0xCA), (0xD0, 0xD1), (0xD3, 0xD3)))
letter_leads_of_3 = _bytes_where(_any_of((0xE5, 0xE9), (0xEB, 0xEC)))
