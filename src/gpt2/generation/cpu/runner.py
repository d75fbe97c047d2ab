"""Runs the compiled pass: owns its memory and its threads."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2.generation.cpu import step
from gpt2.generation.cpu.instructions import LANES, MOST_ROWS
from gpt2.generation.cpu.threads import Threads
from gpt2.generation.cpu.weights import Panels
from gpt2.generation.runner import Logits, Piece
from gpt2.files.pretrained import GPT2

MOST_ROWS_OF_PASS = 128  # their activations fit a processor's own cache

ACTIVATIONS = {
    "gelu_new": step.GELU_TANH,
    "gelu_pytorch_tanh": step.GELU_TANH,
    "gelu_fast": step.GELU_TANH,
    "gelu": step.GELU,
    "relu": step.RELU,
    "silu": step.SILU,
    "swish": step.SILU,
}


def _up(count: int, of: int) -> int:
    return -(-count // of) * of


class CpuCache:
    """The keys and values of one text, float32: of each block and head first keys, then values."""

    def __init__(self, heads: int, size: int, capacity: int) -> None:
        self.capacity = _up(capacity, LANES)
        self.length = 0
        self._size = size
        self._memory = np.empty((heads, cache_entries(size, self.capacity)), np.float32)

    @property
    def address(self) -> int:
        return self._memory.ctypes.data

    def copy_from(self, other: "CpuCache", length: int) -> None:
        """Take over the first `length` tokens of another text, and forget all others."""
        wide = _up(length, LANES)
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine[:, :, :wide] = theirs[:, :, :wide]
        self.length = length

    def _parts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return views of the keys (heads, 1, capacity, ...) and values (heads, panels, capacity, ...)."""
        keys, values = np.split(self._memory, [self.capacity * self._size], axis=1)
        heads = len(self._memory)
        # A page of LANES tokens takes LANES * size entries: so much a token, though not in order.
        return (
            keys.reshape(heads, 1, self.capacity, self._size),
            values.reshape(heads, -1, self.capacity, LANES),
        )


def cache_entries(size: int, capacity: int) -> int:
    """Return the float32 that the keys and values of one head take, of `size` channels."""
    return capacity * (size + _up(size, LANES))


class CpuRunner:
    """Computes logits on the CPU by the compiled pass.

    Args:
        model: Its weights are copied.
        precision: "float32", "bfloat16", "int8" or "int4".
        threads: As many as torch uses if None.
    """

    is_invariant = True
    most_tokens = MOST_ROWS_OF_PASS

    def __init__(self, model: GPT2, precision: str, threads: int | None = None) -> None:
        config = model.config
        self._model = model
        self._heads, self._size = config.n_head, config.n_embd // config.n_head
        self._blocks = config.n_layer
        self._vocabulary = config.vocab_size
        self._panels = Panels()
        self._threads = Threads(threads or torch.get_num_threads())
        scales = torch.tensor([model.block(i).attn.scale for i in range(config.n_layer)])
        unused = torch.tensor(model.unused_ids, dtype=torch.int64)
        self._compiled = step.Model(
            blocks=config.n_layer,
            channels=config.n_embd,
            heads=config.n_head,
            activation=ACTIVATIONS[config.activation_function],
            epsilon=config.layer_norm_epsilon,
            table=self._panels.table(model, precision),
            scales=self._panels.vector(scales),
            unused=self._panels.keep(unused),
            unused_count=len(unused),
        )
        self._work = np.zeros((step.phases(config.n_layer), step.LINE // 8), np.int64)
        self._arrived = np.zeros(step.LINE // 8, np.int64)
        self._team = step.Team(
            self._threads.count, self._arrived.ctypes.data, self._work.ctypes.data
        )
        width = _up(config.n_embd, step.BLOCK) + 16  # 16 more: rows begin in different lines
        inner_width = _up(config.inner, step.BLOCK) + 16
        self._y_width = _up(3 * config.n_embd, step.BLOCK) + 16
        rows = MOST_ROWS_OF_PASS
        self._x = np.zeros((rows, width), np.float32)
        self._h = np.zeros((rows, width), np.float32)
        self._inner = np.zeros((rows, inner_width), np.float32)
        self._y = np.zeros((rows, self._y_width), np.float32)
        self._short = np.zeros((rows, max(width, inner_width)), np.int16)
        self._short_scales = np.zeros(rows, np.float32)
        self._logits_width = _up(config.vocab_size, step.BLOCK) + 16
        self._logits = np.empty((0, self._logits_width), np.float32)
        self._chunk_count = -(-config.vocab_size // step.CHUNK)
        self._scratch_floats = MOST_ROWS * (
            _up(config.n_positions, LANES) + _up(self._size, LANES)
        )
        self._scratch = np.empty((self._threads.count, self._scratch_floats), np.float32)

    def bytes_of(self, capacity: int) -> int:
        """Return the memory of a cache that holds so many tokens."""
        entries = cache_entries(self._size, _up(capacity, LANES))
        return 4 * self._blocks * self._heads * entries

    def new_cache(self, capacity: int) -> CpuCache:
        """Return an empty cache for a text of up to so many tokens."""
        return CpuCache(self._blocks * self._heads, self._size, capacity)

    def run(self, pieces: Sequence[Piece]) -> Logits:
        """Read new tokens of several texts, and append them to their caches."""
        ids = np.concatenate([piece.ids for piece in pieces])
        lengths = [len(piece.ids) for piece in pieces]
        starts = np.cumsum([0, *lengths])
        pasts = np.array([piece.cache.length for piece in pieces])
        positions = np.concatenate(
            [np.arange(past, past + n) for past, n in zip(pasts, lengths, strict=True)]
        )
        wanted = np.concatenate(
            [
                np.arange(end - piece.wanted, end)
                for piece, end in zip(pieces, starts[1:], strict=True)
            ]
        ).astype(np.int64)
        caches = np.array([piece.cache.address for piece in pieces])
        capacities = np.array([piece.cache.capacity for piece in pieces])
        self._x[: len(ids), : self._heads * self._size] = self._embed(ids, positions)
        if len(self._logits) < len(wanted):
            self._logits = np.empty((len(wanted), self._logits_width), np.float32)
            self._chunks = np.empty((len(wanted), self._chunk_count, 3), np.float32)
        self._work.fill(0)
        rows = step.Rows(
            count=len(ids),
            texts=len(pieces),
            starts=starts.ctypes.data,
            pasts=pasts.ctypes.data,
            caches=caches.ctypes.data,
            capacities=capacities.ctypes.data,
            x=self._x.ctypes.data,
            h=self._h.ctypes.data,
            inner=self._inner.ctypes.data,
            y=self._y.ctypes.data,
            short=self._short.ctypes.data,
            short_scales=self._short_scales.ctypes.data,
            width=self._x.shape[1],
            inner_width=self._inner.shape[1],
            y_width=self._y_width,
            wanted=len(wanted),
            outputs=wanted.ctypes.data,
            logits=self._logits.ctypes.data,
            logits_width=self._logits_width,
            chunks=self._chunks.ctypes.data,
            scratch=self._scratch.ctypes.data,
            scratch_bytes=4 * self._scratch_floats,
        )
        self._threads.run(lambda thread: step.forward(thread, self._team, rows, self._compiled))
        for piece in pieces:
            piece.cache.length += len(piece.ids)
        return self._result(len(wanted))

    def _embed(self, ids, positions):
        with torch.inference_mode():
            model = self._model
            x = model.wte(torch.from_numpy(ids)) + model.wpe(torch.from_numpy(positions))
        return x.float().numpy()

    def _result(self, wanted: int) -> Logits:
        chunks = self._chunks[:wanted].astype(np.float64)
        largest = chunks[:, :, 0].max(axis=1)
        best = chunks[:, :, 0].argmax(axis=1)
        terms = chunks[:, :, 2] * np.exp(chunks[:, :, 0] - largest[:, None])
        return Logits(
            likeliest=chunks[np.arange(wanted), best, 1].astype(int).tolist(),
            largest=largest.tolist(),
            log_normalizers=(largest + np.log(terms.sum(axis=1))).tolist(),
            values=torch.from_numpy(self._logits[:wanted, : self._vocabulary]),
        )
