"""One forward pass of GPT-2, for tokens of any number of texts, compiled by Numba for the CPU.

All threads run `forward` at once. It goes through the model phase by phase, and each phase falls
into units of work that any thread may take: rows to normalize, panels of a weight matrix to
multiply with, heads to attend with. Between phases the threads wait for each other.

A row of activations is one token. Rows of a text follow each other, and so do texts. Weights lie in
panels of LANES outputs, (inputs, LANES); so do the keys of a head, (channels, LANES tokens), and
its values, (tokens, LANES channels): thus one kernel computes all products.

Addresses are plain integers, sizes are in entries and strides in bytes. What this computes is what
`gpt2.model` says; each number depends on its own text alone.

Numba keeps what it compiled until this file changes; after a change in `instructions` alone, delete
__pycache__.
"""

import math
from typing import NamedTuple

import numpy as np

from gpt2.generation.cpu.instructions import (
    BFLOAT16,
    FLOAT32,
    GROUP,
    INT4,
    INT8,
    LANES,
    MOST_ROWS,
    as_float32,
    fetch_and_add,
    floats,
    give_way,
    inner,
    largest,
    largest_magnitude,
    load_shared,
    longs,
    multiply_bfloat16,
    multiply_float32,
    multiply_int4,
    multiply_int8,
    shorts,
    total,
    total_of_squares,
)
from llm_tokenizer.compiled.jit import kept

F = np.float32
ROW_MULTIPLE = 128  # of the width of rows in memory: whole vectors, and whole groups
CHUNK = 4096  # logits that a thread looks through at once
SPINS = 2000  # looks at a barrier before a thread gives way
SHARES = 3  # of a thread in a phase's panels: long reads are fast, and one that waits takes over
FEW_ROWS = 8  # of these a panel is soon done: it is its reading that takes time
LINE = 64  # bytes of a cache line
BLOCK_PHASES, HEAD_PHASES = 9, 3  # at the most
BLOCK_FIELDS, HEAD_FIELDS = 2 * 2 + 4 * 6, 2 + 6  # numbers of a block and of the head in the table
GELU_TANH, GELU, RELU, SILU = range(4)
GROUP_INT8, GROUP_INT4 = GROUP[INT8], GROUP[INT4]
LARGEST_SHORT = F(32767)


class Matrix(NamedTuple):
    """A weight matrix in panels, and its bias."""

    kind: int  # FLOAT32, BFLOAT16, INT8 or INT4
    panels: int  # address; a panel after the other
    panel_bytes: int
    depth: int  # inputs, or groups of them, as a tile counts
    outputs: int
    bias: int  # address of float32, a panel's zeros at the end; 0 if there is none


class Norm(NamedTuple):
    """A layer normalization: addresses of its weight and bias, float32."""

    weight: int
    bias: int


class Block(NamedTuple):
    """The weights of a block."""

    ln_1: Norm
    c_attn: Matrix
    attn_c_proj: Matrix
    ln_2: Norm
    c_fc: Matrix
    mlp_c_proj: Matrix


class Model(NamedTuple):
    """Sizes, and where the weights are."""

    blocks: int
    channels: int
    heads: int
    activation: int  # GELU_TANH, GELU, RELU or SILU
    epsilon: float
    table: int  # address of the numbers of each Block in turn, then of ln_f and head; int64
    scales: int  # address of each block's factor of the attention scores; float32
    unused: int  # address of ids that no token has; int64
    unused_count: int


class Buffer(NamedTuple):
    """Rows of numbers."""

    address: int
    width: int  # entries from one row to the next


class Rows(NamedTuple):
    """The rows of one pass, and the memory that they are computed in."""

    count: int
    texts: int
    starts: int  # address: first row of each text, and the end of the last; int64
    pasts: int  # address: tokens of each text that are cached already
    caches: int  # address: address of each text's cache
    capacities: int  # address: tokens that each cache holds, a multiple of LANES
    x: Buffer  # the residual stream; float32
    h: Buffer  # what a matrix of C inputs reads; float32
    inner: Buffer  # what the MLP's second matrix reads; float32
    y: Buffer  # what the other matrices write; float32
    short: Buffer  # what a matrix of integers reads: a row of h or inner; int16
    scales: int  # address: a row of h or inner is its int16 row times this; float32
    wanted: int  # rows whose logits are wanted, that is of `outputs`
    outputs: int  # address: numbers of these rows; int64
    logits: Buffer  # of the wanted rows; float32
    chunks: int  # address: of each wanted row and CHUNK of logits what `_look_through` found
    scratch: Buffer  # of each thread; float32


class Team(NamedTuple):
    """The threads of one pass."""

    threads: int
    arrived: int  # address of the barrier's counter
    work: int  # address of a counter a phase, a cache line each


@inner
def _barrier(team):
    arrived = fetch_and_add(team.arrived, 1) + 1
    awaited = (arrived + team.threads - 1) // team.threads * team.threads
    spins = 0
    while load_shared(team.arrived) < awaited:
        spins += 1
        if spins > SPINS:
            give_way()


@inner
def _take(team, phase, unit):
    """Return the first of the next `unit` pieces of a phase's work."""
    return fetch_and_add(team.work + phase * LINE, unit)


@inner
def _ceil(count, of):
    return (count + of - 1) // of * of


@inner
def _exp(x):
    """Return e**x in float32, to one unit in the last place; x from -87 to 88.

    Source: the range reduction of Cody and Waite 1980, and the series of e**r on |r| <= ln(2) / 2.
    """
    n = np.floor(x * F(1.4426950408889634) + F(0.5))
    r = x - n * F(0.693359375) + n * F(2.1219444005469057e-4)
    series = F(1.9841270e-4)
    series = series * r + F(1.3888889e-3)
    series = series * r + F(8.3333333e-3)
    series = series * r + F(4.1666667e-2)
    series = series * r + F(1.6666667e-1)
    series = series * r + F(0.5)
    series = series * r * r + r + F(1)
    return series * as_float32(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@inner
def _exp_of(x):
    """Return e**x in float32 where x is from -87 to 88, e**-87 below; nan of nan."""
    return _exp(F(-87) if x < F(-87) else x)


@inner
def _sigmoid(x):
    return F(1) / (F(1) + _exp_of(F(87) if x < F(-87) else -x))


@inner
def _activate(y, activation):
    """Apply the nonlinearity of the MLP in place."""
    if activation == GELU_TANH:
        for i in range(len(y)):
            v = y[i]
            u = F(1.5957691216057308) * (v + F(0.044715) * v * v * v)  # 2 * sqrt(2 / pi)
            y[i] = v * _sigmoid(u)
    elif activation == GELU:
        for i in range(len(y)):
            y[i] = F(0.5) * y[i] * (F(1) + F(math.erf(y[i] * F(0.7071067811865476))))
    elif activation == RELU:
        for i in range(len(y)):
            y[i] = max(y[i], F(0))
    else:
        for i in range(len(y)):
            y[i] = y[i] * _sigmoid(y[i])


@inner
def _row(buffer, row):
    """Return the address of a row of float32."""
    return buffer.address + 4 * row * buffer.width


@inner
def _normalize(x, h, channels, norm, epsilon):
    """Write the layer normalization of the row x to h."""
    wide = _ceil(channels, LANES)  # the entries beyond are 0
    mean = total(x, wide) / F(channels)
    source, out = floats(x, channels), floats(h, channels)
    for i in range(channels):
        out[i] = source[i] - mean
    deviation = F(1) / np.sqrt(total_of_squares(h, wide) / F(channels) + F(epsilon))
    weight, bias = floats(norm.weight, channels), floats(norm.bias, channels)
    for i in range(channels):
        out[i] = out[i] * deviation * weight[i] + bias[i]


@inner
def _shorten(matrix, source, rows, row):
    """Make a row ready for a matrix of integers: as 16-bit integers times a scale."""
    count = matrix.depth * (GROUP_INT8 if matrix.kind == INT8 else GROUP_INT4)
    address = _row(source, row)
    # A number that is not finite becomes nan in the scale, and so in all that comes of the row.
    most = largest_magnitude(address, count) + total(address, count) * F(0)
    floats(rows.scales, row + 1)[row] = most / LARGEST_SHORT
    inverse = LARGEST_SHORT / most if most > F(0) else F(0)
    values = floats(address, count)
    out = shorts(rows.short.address + 2 * row * rows.short.width, count)
    for i in range(count):
        out[i] = np.int16(np.floor(values[i] * inverse + F(0.5)))


@inner
def _shorten_all(team, phase, matrix, rows):
    """Make the rows of h ready for a matrix of integers."""
    while True:
        row = _take(team, phase, 1)
        if row >= rows.count:
            return
        _shorten(matrix, rows.h, rows, row)


@inner
def _activate_all(team, phase, matrix, rows, model, inner_size):
    """Apply the nonlinearity of the MLP, and make the rows ready for its second matrix."""
    while True:
        row = _take(team, phase, 1)
        if row >= rows.count:
            return
        _activate(floats(_row(rows.inner, row), inner_size), model.activation)
        if matrix.kind >= INT8:
            _shorten(matrix, rows.inner, rows, row)


@inner
def _normalize_row(rows, model, row, out, norm, matrix, add):
    """Write the normalization of a row of the residual stream to row `out` of h, for a matrix.

    If `add`, what the last matrix wrote is added to the stream first.
    """
    x, channels = _row(rows.x, row), model.channels
    if add:
        stream, y = floats(x, channels), floats(_row(rows.y, row), channels)
        for i in range(channels):
            stream[i] += y[i]
    _normalize(x, _row(rows.h, out), channels, norm, model.epsilon)
    if matrix.kind >= INT8:
        _shorten(matrix, rows.h, rows, out)


@inner
def _normalize_all(team, phase, rows, model, norm, matrix, add):
    while True:
        row = _take(team, phase, 1)
        if row >= rows.count:
            return
        _normalize_row(rows, model, row, row, norm, matrix, add)


@inner
def _normalize_wanted(team, phase, rows, model, norm, matrix):
    """Normalize the wanted rows alone, into the first rows of h."""
    wanted = longs(rows.outputs, rows.wanted)
    while True:
        out = _take(team, phase, 1)
        if out >= rows.wanted:
            return
        _normalize_row(rows, model, wanted[out], out, norm, matrix, True)


@inner
def _multiply(matrix, panel, source, rows, count, out, step):
    """Add the products of `count` rows with one panel to out, (count, LANES)."""
    weights, depth = matrix.panels + panel * matrix.panel_bytes, matrix.depth
    x, stride = source.address, 4 * source.width
    short, short_stride = rows.short.address, 2 * rows.short.width
    if matrix.kind == FLOAT32:
        multiply_float32(count, x, stride, weights, depth, out, step)
    elif matrix.kind == BFLOAT16:
        multiply_bfloat16(count, x, stride, weights, depth, out, step)
    elif matrix.kind == INT8:
        multiply_int8(count, short, short_stride, weights, depth, out, step)
    else:
        multiply_int4(count, short, short_stride, weights, depth, out, step)


@inner
def _finish(matrix, panel, rows, row, out):
    """Scale a row's products with a panel, and add the bias."""
    y = floats(out, LANES)
    if matrix.kind >= INT8:
        scale = floats(rows.scales, row + 1)[row]
        for i in range(LANES):
            y[i] *= scale
    if matrix.bias != 0:
        bias = floats(matrix.bias + 4 * panel * LANES, LANES)
        for i in range(LANES):
            y[i] += bias[i]


@inner
def _multiply_all(team, phase, matrix, source, rows, count, to):
    """Write the products of `count` rows of a buffer with a matrix to another one."""
    panels = (matrix.outputs + LANES - 1) // LANES
    unit = _ceil(panels, SHARES * team.threads) // (SHARES * team.threads)
    if count > FEW_ROWS:
        unit = 1
    while True:
        first = _take(team, phase, unit)
        if first >= panels:
            return
        for panel in range(first, min(first + unit, panels)):
            out = to.address + 4 * panel * LANES
            for row in range(count):
                floats(out + 4 * row * to.width, LANES)[:] = F(0)
            _multiply(matrix, panel, source, rows, count, out, 4 * to.width)
            for row in range(count):
                _finish(matrix, panel, rows, row, out + 4 * row * to.width)


@inner
def _remember(rows, model, cache, capacity, past, first, count, head):
    """Write keys and values of a text's new tokens for one head to its cache."""
    size = model.channels // model.heads
    keys = floats(cache, capacity * size)
    values = floats(cache + 4 * capacity * size, capacity * _ceil(size, LANES))
    for row in range(count):
        token = past + row
        k = floats(_row(rows.y, first + row) + 4 * (model.channels + head * size), size)
        v = floats(_row(rows.y, first + row) + 4 * (2 * model.channels + head * size), size)
        page = token // LANES * size * LANES + token % LANES
        for i in range(size):
            keys[page + i * LANES] = k[i]
        for panel in range(0, size, LANES):
            place = panel * capacity + token * LANES
            for i in range(min(LANES, size - panel)):
                values[place + i] = v[panel + i]


@inner
def _softmax(scores, seen, wide, scale):
    """Turn scores of `seen` tokens into weights that sum to the returned number; the rest is 0."""
    values = floats(scores, wide)
    for i in range(seen):
        values[i] *= scale
    values[seen:] = F(-np.inf)
    most = largest(scores, wide)
    for i in range(seen):
        values[i] = _exp_of(values[i] - most)
    values[seen:] = F(0)
    return total(scores, wide)


@inner
def _attend(rows, model, cache, capacity, past, first, count, head, scale, scores):
    """Write what one head of `count` rows of a text reads from its cache to h."""
    size = model.channels // model.heads
    wide = _ceil(size, LANES)
    keys, values = cache, cache + 4 * capacity * size
    mixed = scores + 4 * MOST_ROWS * capacity
    sums = floats(mixed + 4 * MOST_ROWS * wide, MOST_ROWS)
    for row in range(0, count, MOST_ROWS):
        together = min(MOST_ROWS, count - row)
        seen = past + row + together  # tokens, by the last of these rows
        pages = _ceil(seen, LANES)
        floats(scores, together * capacity)[:] = F(0)
        floats(mixed, together * wide)[:] = F(0)
        q = _row(rows.y, first + row) + 4 * head * size
        for token in range(0, pages, LANES):
            page, to = keys + 4 * token * size, scores + 4 * token
            multiply_float32(together, q, 4 * rows.y.width, page, size, to, 4 * capacity)
        for i in range(together):
            sums[i] = _softmax(scores + 4 * i * capacity, past + row + i + 1, pages, scale)
        for channel in range(0, wide, LANES):
            panel, to = values + 4 * channel * capacity, mixed + 4 * channel
            multiply_float32(together, scores, 4 * capacity, panel, seen, to, 4 * wide)
        for i in range(together):
            out = floats(_row(rows.h, first + row + i) + 4 * head * size, size)
            read = floats(mixed + 4 * i * wide, size)
            inverse = F(1) / sums[i]
            for channel in range(size):
                out[channel] = read[channel] * inverse


@inner
def _attend_all(team, phase, rows, model, block, scratch):
    """Attend with every head of every text."""
    starts, pasts = longs(rows.starts, rows.texts + 1), longs(rows.pasts, rows.texts)
    caches, capacities = longs(rows.caches, rows.texts), longs(rows.capacities, rows.texts)
    size = model.channels // model.heads
    entries = size + _ceil(size, LANES)  # of a token's key and value
    scale = floats(model.scales, model.blocks)[block]
    while True:
        unit = _take(team, phase, 1)
        if unit >= rows.texts * model.heads:
            return
        text, head = unit // model.heads, unit % model.heads
        capacity, past, first = capacities[text], pasts[text], starts[text]
        count = starts[text + 1] - first
        cache = caches[text] + 4 * (block * model.heads + head) * capacity * entries
        _remember(rows, model, cache, capacity, past, first, count, head)
        _attend(rows, model, cache, capacity, past, first, count, head, scale, scratch)


@inner
def _sum_of_exponentials(logits, most, scratch):
    """Return the sum of exp(logits - most); nan if a logit is nan or positive infinity."""
    shift = most if most > F(-np.inf) else F(0)
    terms = floats(scratch, CHUNK)
    terms[len(logits) :] = F(0)
    for i in range(len(logits)):
        terms[i] = _exp_of(logits[i] - shift)
    return total(scratch, CHUNK)


@inner
def _look_through(team, phase, rows, model, vocabulary, scratch):
    """Find the largest logit, its id and the sum of exponentials of each chunk of a row."""
    in_row = (vocabulary + CHUNK - 1) // CHUNK
    chunks = floats(rows.chunks, rows.wanted * in_row * 3)
    unused = longs(model.unused, model.unused_count)
    while True:
        unit = _take(team, phase, 1)
        if unit >= rows.wanted * in_row:
            return
        row, first = unit // in_row, unit % in_row * CHUNK
        last = min(first + CHUNK, vocabulary)
        logits = floats(_row(rows.logits, row), vocabulary)
        for i in range(len(unused)):
            if first <= unused[i] < last:
                logits[unused[i]] = F(-np.inf)
        start, wide = _row(rows.logits, row) + 4 * first, _ceil(last - first, LANES)
        floats(start, wide)[last - first :] = F(-np.inf)
        most = largest(start, wide)
        best = first
        while best < last - 1 and logits[best] != most:
            best += 1
        chunks[3 * unit] = most
        chunks[3 * unit + 1] = best
        chunks[3 * unit + 2] = _sum_of_exponentials(floats(start, last - first), most, scratch)


@inner
def _norm(fields, at):
    return Norm(fields[at], fields[at + 1])


@inner
def _matrix(fields, at):
    return Matrix(
        fields[at], fields[at + 1], fields[at + 2], fields[at + 3], fields[at + 4], fields[at + 5]
    )


@inner
def _block(model, index):
    fields = longs(model.table + 8 * index * BLOCK_FIELDS, BLOCK_FIELDS)
    return Block(
        _norm(fields, 0),
        _matrix(fields, 2),
        _matrix(fields, 8),
        _norm(fields, 14),
        _matrix(fields, 16),
        _matrix(fields, 22),
    )


@inner
def _run_block(team, phase, rows, model, index, scratch):
    """Compute a block. What its MLP adds to the residual stream is left in y for the next one."""
    block = _block(model, index)
    _normalize_all(team, phase, rows, model, block.ln_1, block.c_attn, index > 0)
    _barrier(team)
    _multiply_all(team, phase + 1, block.c_attn, rows.h, rows, rows.count, rows.y)
    _barrier(team)
    _attend_all(team, phase + 2, rows, model, index, scratch)
    _barrier(team)
    if block.attn_c_proj.kind >= INT8:
        _shorten_all(team, phase + 3, block.attn_c_proj, rows)
        _barrier(team)
    _multiply_all(team, phase + 4, block.attn_c_proj, rows.h, rows, rows.count, rows.y)
    _barrier(team)
    _normalize_all(team, phase + 5, rows, model, block.ln_2, block.c_fc, True)
    _barrier(team)
    _multiply_all(team, phase + 6, block.c_fc, rows.h, rows, rows.count, rows.inner)
    _barrier(team)
    _activate_all(team, phase + 7, block.mlp_c_proj, rows, model, block.c_fc.outputs)
    _barrier(team)
    _multiply_all(team, phase + 8, block.mlp_c_proj, rows.inner, rows, rows.count, rows.y)
    _barrier(team)


@inner
def _run_head(team, phase, rows, model, scratch):
    """Compute the logits of the wanted rows."""
    fields = longs(model.table + 8 * model.blocks * BLOCK_FIELDS, HEAD_FIELDS)
    ln_f, head = _norm(fields, 0), _matrix(fields, 2)
    _normalize_wanted(team, phase, rows, model, ln_f, head)
    _barrier(team)
    _multiply_all(team, phase + 1, head, rows.h, rows, rows.wanted, rows.logits)
    _barrier(team)
    _look_through(team, phase + 2, rows, model, head.outputs, scratch)
    _barrier(team)


@kept
def forward(team, rows, model, thread):
    """Compute one pass, together with the other threads of the team.

    Args:
        team: The threads; the counters of work are 0 at the beginning.
        rows: The tokens: x holds their embeddings. The logits of wanted rows are the result.
        model: The weights.
        thread: Number of this thread, from 0 on.
    """
    scratch = _row(rows.scratch, thread)
    for index in range(model.blocks):
        _run_block(team, index * BLOCK_PHASES, rows, model, index, scratch)
    if rows.wanted:
        _run_head(team, model.blocks * BLOCK_PHASES, rows, model, scratch)
