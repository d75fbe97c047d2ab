"""Vector instructions that Python has no word for, made callable from Numba-compiled code.

The heart is `_tile`, a piece of a matrix product: some rows of activations times a panel, which is
LANES rows of weights. Each output is one sum, taken in the order of the inputs, whatever the number
of rows: so a token's logits are the same to the last bit alone, in a batch, and in a prompt.

Written in LLVM's generic vectors, of which it makes AVX-512, AVX2 or NEON: a product of 16-bit
integers whose neighbours are added becomes vpdpwssd or vpmaddwd.

Source: LLVM Language Reference Manual (vectors, llvm.fma, llvm.vector.reduce, atomicrmw).
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]
# Lanes of a vector register, and rows of a tile: two accumulators a row fill the registers.
if "+avx512bw" in _FEATURES:
    VECTOR, MOST_ROWS = 16, 8
elif "+avx2" in _FEATURES:
    VECTOR, MOST_ROWS = 8, 6
else:
    VECTOR, MOST_ROWS = 4, 6
VECTORS = 2  # of a panel
AHEAD = 4096  # bytes of weights: asked for so early, they have come when they are read
LANES = VECTORS * VECTOR
TILE_ROWS = (MOST_ROWS, 4, 2, 1)

FLOAT32, BFLOAT16, INT8, INT4 = range(4)
BITS = {FLOAT32: 32, BFLOAT16: 16, INT8: 8, INT4: 4}
GROUP = {INT8: 128, INT4: 32}  # inputs that share a scale
PAIRS = {INT8: 1, INT4: 4}  # pairs of inputs that one load of weights holds

_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT32 = ir.FloatType()


def panel_bytes(kind: int, inputs: int) -> int:
    """Return the bytes of LANES rows of weights; of integers with the scales of their groups."""
    weights = LANES * inputs * BITS[kind] // 8
    return weights + (inputs // GROUP[kind] * LANES * 2 if kind in GROUP else 0)


def _constant(value: int, of: Any = _INT64) -> Any:
    return ir.Constant(of, [value] * of.count if isinstance(of, ir.VectorType) else value)


def _vector(of: Any, count: int = VECTOR) -> Any:
    return ir.VectorType(of, count)


_FLOATS, _INTS, _SHORTS = _vector(_FLOAT32), _vector(_INT32), _vector(_INT16, 2 * VECTOR)


def _at(builder: Any, address: Any, offset: int) -> Any:
    return builder.add(address, _constant(offset))


def _load(builder: Any, address: Any, of: Any) -> Any:
    value = builder.load(builder.inttoptr(address, of.as_pointer()))
    value.align = 1
    return value


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def _call(builder: Any, name: str, returned: Any, *args: Any) -> Any:
    function = ir.FunctionType(returned, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def _broadcast(builder: Any, value: Any) -> Any:
    of = _vector(value.type)
    first = builder.insert_element(ir.Constant(of, ir.Undefined), value, _constant(0, _INT32))
    return builder.shuffle_vector(first, first, _constant(0, _INTS))


def _fma(builder: Any, x: Any, y: Any, added: Any) -> Any:
    return _call(builder, f"llvm.fma.v{VECTOR}f32", _FLOATS, x, y, added)


def _load_bfloat16(builder: Any, address: Any) -> Any:
    bits = builder.zext(_load(builder, address, _vector(_INT16)), _INTS)
    return builder.bitcast(builder.shl(bits, _constant(16, _INTS)), _FLOATS)


def _add_products(builder: Any, sums: Any, x: Any, y: Any) -> Any:
    """Add x[2i] * y[2i] + x[2i + 1] * y[2i + 1], of 16-bit integers, to each 32-bit sum i."""
    wide = _vector(_INT32, 2 * VECTOR)
    products = builder.mul(builder.sext(x, wide), builder.sext(y, wide))
    evens, odds = (ir.Constant(_INTS, list(range(i, 2 * VECTOR, 2))) for i in (0, 1))
    pairs = (builder.shuffle_vector(products, products, places) for places in (evens, odds))
    return builder.add(sums, builder.add(*pairs))


class _Registers:
    """The registers in which some rows of a tile are summed up, while its code is generated."""

    def __init__(self, builder: Any, rows: int, of: Any) -> None:
        self.builder = builder
        self.registers = [
            [cgutils.alloca_once(builder, of) for _ in range(VECTORS)] for _ in range(rows)
        ]

    def update(self, change: Callable[[int, int, Any], Any]) -> None:
        """Replace each register by what `change` makes of its row, vector and value."""
        for row, registers in enumerate(self.registers):
            for vector, register in enumerate(registers):
                value = change(row, vector, self.builder.load(register))
                self.builder.store(value, register)


def _prefetch(builder: Any, address: Any, size: int) -> None:
    """Ask for the weights that are AHEAD bytes further on to be brought into the second cache."""
    for offset in range(0, size, 64):
        place = builder.inttoptr(_at(builder, address, AHEAD + offset), _INT8.as_pointer())
        numbers = [_constant(number, _INT32) for number in (0, 2, 1)]  # to read, second cache, data
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), place, *numbers)


def _add_float_products(
    builder: Any, kind: int, sums: _Registers, activations: list[Any], panel: Any, inputs: Any
) -> None:
    size = BITS[kind] // 8
    with cgutils.for_range(builder, inputs) as loop:
        start = builder.add(panel, builder.mul(loop.index, _constant(size * LANES)))
        _prefetch(builder, start, size * LANES)
        places = [_at(builder, start, size * VECTOR * v) for v in range(VECTORS)]
        weights = [
            _load(builder, place, _FLOATS) if kind == FLOAT32 else _load_bfloat16(builder, place)
            for place in places
        ]
        offset = builder.mul(loop.index, _constant(4))
        inputs_here = [
            _broadcast(builder, _load(builder, builder.add(row, offset), _FLOAT32))
            for row in activations
        ]
        sums.update(lambda row, v, sum_: _fma(builder, weights[v], inputs_here[row], sum_))


def _integer_weights(builder: Any, kind: int, start: Any) -> list[list[Any]]:
    """Load the weights of PAIRS pairs of inputs, as 16-bit integers: [pair][vector]."""
    if kind == INT8:
        bytes_ = _vector(_INT8, 2 * VECTOR)
        places = [_at(builder, start, 2 * VECTOR * v) for v in range(VECTORS)]
        return [[builder.sext(_load(builder, place, bytes_), _SHORTS) for place in places]]
    # Four 4-bit integers in each 16 bits, the first pair's lowest: moved up, then down with sign.
    packed = [_load(builder, _at(builder, start, 4 * VECTOR * v), _SHORTS) for v in range(VECTORS)]
    return [
        [
            builder.ashr(
                builder.shl(four, _constant(12 - 4 * pair, _SHORTS)), _constant(12, _SHORTS)
            )
            for four in packed
        ]
        for pair in range(PAIRS[kind])
    ]


def _add_integer_products(
    builder: Any, kind: int, sums: _Registers, activations: list[Any], panel: Any, groups: Any
) -> None:
    pairs, group = PAIRS[kind], GROUP[kind]
    group_bytes = panel_bytes(kind, group)
    loaded_bytes = 2 * pairs * LANES * BITS[kind] // 8
    products = _Registers(builder, len(activations), _INTS)
    with cgutils.for_range(builder, groups) as outer:
        scales = builder.add(panel, builder.mul(outer.index, _constant(group_bytes)))
        products.update(lambda *_: _constant(0, _INTS))
        first = builder.mul(outer.index, _constant(2 * group))
        with cgutils.for_range(builder, _constant(group // (2 * pairs))) as inner:
            start = _at(builder, scales, 2 * LANES)
            start = builder.add(start, builder.mul(inner.index, _constant(loaded_bytes)))
            _prefetch(builder, start, loaded_bytes)
            weights = _integer_weights(builder, kind, start)
            offset = builder.add(first, builder.mul(inner.index, _constant(4 * pairs)))
            for pair in range(pairs):
                here = _at(builder, offset, 4 * pair)
                inputs_here = [
                    builder.bitcast(
                        _broadcast(builder, _load(builder, builder.add(row, here), _INT32)), _SHORTS
                    )
                    for row in activations
                ]
                products.update(
                    lambda row, v, sum_, pair=pair, x=inputs_here: _add_products(
                        builder, sum_, weights[pair][v], x[row]
                    )
                )
        scale = [
            _load_bfloat16(builder, _at(builder, scales, 2 * VECTOR * v)) for v in range(VECTORS)
        ]
        sums.update(
            lambda row, v, sum_: _fma(
                builder,
                builder.sitofp(builder.load(products.registers[row][v]), _FLOATS),
                scale[v],
                sum_,
            )
        )


def _tile(kind: int, rows: int) -> Any:
    """Return the instruction that multiplies so many rows with a panel of a kind.

    It adds to out[r, 0:LANES], float32, the products of x[r] with the panel. Its arguments are the
    address of x (float32 for float weights, int16 for integers), the bytes from one row of it to
    the next, the address of the panel, its inputs (groups of them for integers), the address of
    `out`, and the bytes from one row of it to the next.
    """
    add = _add_integer_products if kind in GROUP else _add_float_products

    def starts(builder: Any, first: Any, stride: Any) -> list[Any]:
        offsets = [builder.mul(stride, _constant(row)) for row in range(rows)]
        return [builder.add(first, offset) for offset in offsets]

    @intrinsic
    def multiply(
        _context: Any, x: Any, stride: Any, panel: Any, n: Any, out: Any, step: Any
    ) -> Any:
        def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
            x, stride, panel, n, out, out_stride = args
            outs = [
                [_at(builder, start, 4 * VECTOR * vector) for vector in range(VECTORS)]
                for start in starts(builder, out, out_stride)
            ]
            sums = _Registers(builder, rows, _FLOATS)
            sums.update(lambda row, vector, _: _load(builder, outs[row][vector], _FLOATS))
            add(builder, kind, sums, starts(builder, x, stride), panel, n)
            for row, registers in enumerate(sums.registers):
                for vector, register in enumerate(registers):
                    _store(builder, builder.load(register), outs[row][vector])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return multiply


def _multiplier(kind: int) -> Any:
    """Return a function like `_tile`'s, but for any number of rows, its first argument."""
    most, four, two, one = (_tile(kind, rows) for rows in TILE_ROWS)

    @inner
    def multiply(rows, x, stride, panel, n, out, out_stride):  # type: ignore[no-untyped-def]
        row = 0
        while row < rows:
            left, here, to = rows - row, x + row * stride, out + row * out_stride
            if left >= MOST_ROWS:
                most(here, stride, panel, n, to, out_stride)
                row += MOST_ROWS
            elif left >= 4:
                four(here, stride, panel, n, to, out_stride)
                row += 4
            elif left >= 2:
                two(here, stride, panel, n, to, out_stride)
                row += 2
            else:
                one(here, stride, panel, n, to, out_stride)
                row += 1

    return multiply


multiply_float32, multiply_bfloat16, multiply_int8, multiply_int4 = map(_multiplier, BITS)


def _reduction(initial: float, combine: Callable[..., Any], reduce: Callable[..., Any]) -> Any:
    """Return an instruction: (address, count of float32, a multiple of LANES) -> float32.

    Whatever the count, entry i is combined in lane i of LANES, and the lanes at the end.
    """

    @intrinsic
    def instruction(_context: Any, address: Any, count: Any) -> Any:
        def generate(_context: Any, builder: Any, _: Any, args: Any) -> Any:
            address, count = args
            lanes = _Registers(builder, 1, _FLOATS)
            lanes.update(lambda *_: _constant(initial, _FLOATS))
            with cgutils.for_range(builder, builder.udiv(count, _constant(LANES))) as loop:
                start = builder.add(address, builder.mul(loop.index, _constant(4 * LANES)))
                lanes.update(
                    lambda _, vector, value: combine(
                        builder,
                        value,
                        _load(builder, _at(builder, start, 4 * VECTOR * vector), _FLOATS),
                    )
                )
            first, second = (builder.load(register) for register in lanes.registers[0])
            return reduce(builder, first, second)

        return types.float32(types.int64, types.int64), generate

    return instruction


def _added(builder: Any, first: Any, second: Any) -> Any:
    total = builder.fadd(first, second)
    name = f"llvm.vector.reduce.fadd.v{VECTOR}f32"
    return _call(builder, name, _FLOAT32, _constant(0, _FLOAT32), total)


def _larger(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def _magnitude(builder: Any, x: Any) -> Any:
    return _call(builder, f"llvm.fabs.v{VECTOR}f32", _FLOATS, x)


def _largest(builder: Any, first: Any, second: Any) -> Any:
    name = f"llvm.vector.reduce.fmax.v{VECTOR}f32"
    return _call(builder, name, _FLOAT32, _larger(builder, first, second))


total = _reduction(0.0, lambda builder, sum_, x: builder.fadd(sum_, x), _added)
total_of_squares = _reduction(0.0, lambda builder, sum_, x: _fma(builder, x, x, sum_), _added)
largest_magnitude = _reduction(
    0.0, lambda builder, most, x: _larger(builder, _magnitude(builder, x), most), _largest
)
largest = _reduction(float("-inf"), lambda builder, most, x: _larger(builder, x, most), _largest)


@intrinsic
def as_float32(_context: Any, bits: Any) -> Any:
    """Return the float32 of these 32 bits."""
    return types.float32(types.int32), lambda _, builder, __, args: builder.bitcast(
        args[0], _FLOAT32
    )


@intrinsic
def _pointer(_context: Any, address: Any) -> Any:
    return types.voidptr(types.int64), lambda _, builder, __, args: builder.inttoptr(
        args[0], cgutils.voidptr_t
    )


@inner
def floats(address, count):  # type: ignore[no-untyped-def]
    """Return the float32 at an address as an array."""
    return carray(_pointer(address), count, np.float32)


@inner
def shorts(address, count):  # type: ignore[no-untyped-def]
    """Return the int16 at an address as an array."""
    return carray(_pointer(address), count, np.int16)


@inner
def longs(address, count):  # type: ignore[no-untyped-def]
    """Return the int64 at an address as an array."""
    return carray(_pointer(address), count, np.int64)


@intrinsic
def fetch_and_add(_context: Any, address: Any, added: Any) -> Any:
    """Add to the int64 at an address, whatever other threads do there; return what it was."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", place, args[1], "acq_rel")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def load_shared(_context: Any, address: Any) -> Any:
    """Return the int64 at an address, and see all that was written before it was."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def give_way(_context: Any) -> Any:
    """Let another thread run on this processor if one waits for it."""
    name = "SwitchToThread" if os.name == "nt" else "sched_yield"

    def generate(context: Any, builder: Any, _: Any, __: Any) -> Any:
        _call(builder, name, _INT32)
        return context.get_dummy_value()

    return types.void(), generate
