"""Runs the compiled pass: owns its memory and its threads."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import typeof, types
from numba.core.caching import NullCache
from numba.core.event import Event, Listener, install_listener
from numpy.typing import NDArray
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.files.pretrained import GPT2
from gpt2.generation.cpu import step
from gpt2.generation.cpu.instructions import LANES, MOST_ROWS
from gpt2.generation.cpu.threads import Threads
from gpt2.generation.cpu.weights import Panels, token_embeddings
from gpt2.generation.runner import Logits, Piece
from gpt2.progress import log

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
        self._memory = np.empty((heads, cache_entries(size, capacity)), np.float32)
        self.address: int = self._memory.ctypes.data

    def copy_from(self, other: "CpuCache", length: int) -> None:
        """Take over the first `length` tokens of another text, and forget all others."""
        wide = _up(length, LANES)
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine[:, :, :wide] = theirs[:, :, :wide]
        self.length = length

    def _parts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return keys and values, (heads, panels, capacity, entries); whole pages count alone."""
        keys, values = np.split(self._memory, [self.capacity * self._size], axis=1)
        heads = len(self._memory)
        # A page of LANES tokens takes LANES * size entries: so much a token, though not in order.
        return (
            keys.reshape(heads, 1, self.capacity, self._size),
            values.reshape(heads, -1, self.capacity, LANES),
        )


def cache_entries(size: int, capacity: int) -> int:
    """Return the float32 that the keys and values of one head of `size` channels take."""
    return _up(capacity, LANES) * (size + _up(size, LANES))


class CpuRunner:
    """Computes logits on the CPU by the compiled pass.

    Args:
        model: Its weights are copied, but for the embeddings.
        precision: "float32", "bfloat16", "int8" or "int4".
        threads: As many as torch uses if None.
        take: Take the matrices of the blocks out of the model, see `Engine`.
    """

    is_invariant = True
    most_tokens = 256  # of a pass: enough to read weights seldom, few enough to fit the caches

    def __init__(
        self, model: GPT2, precision: str, threads: int | None = None, *, take: bool = False
    ) -> None:
        config = model.config
        self.precision = precision
        self._threads = Threads(threads or torch.get_num_threads())
        self._embeddings = token_embeddings(model, precision), model.wpe
        self._heads, self._size = config.n_layer * config.n_head, config.n_embd // config.n_head
        self._panels = Panels()
        self._model = self._describe(model, take)
        self._buffers = _Buffers(config, self.most_tokens, self._threads.count)
        phases = config.n_layer * step.BLOCK_PHASES + step.HEAD_PHASES
        self._work = np.zeros((phases, step.LINE // 8), np.int64)
        self._team = step.Team(
            self._threads.count, self._threads.arrived.ctypes.data, self._work.ctypes.data
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that a pass reads."""
        return self._panels.bytes

    def bytes_of(self, capacity: int) -> int:
        """Return the memory of a cache that holds so many tokens."""
        return 4 * self._heads * cache_entries(self._size, capacity)

    def new_cache(self, capacity: int) -> CpuCache:
        """Return an empty cache for a text of up to so many tokens."""
        return CpuCache(self._heads, self._size, capacity)

    def run(self, pieces: Sequence[Piece]) -> Logits:
        """Read new tokens of several texts, and append them to their caches."""
        rows = self._buffers.prepare(pieces, self._embed(pieces))
        self._work.fill(0)
        self._threads.run(partial(step.forward, self._team, rows, self._model))
        for piece in pieces:
            piece.cache.length += len(piece.ids)
        return self._buffers.logits(rows.wanted)

    def _describe(self, model: GPT2, take: bool) -> step.Model:
        config, panels = model.config, self._panels
        scales = torch.tensor([model.block(i).attn.scale for i in range(config.n_layer)])
        return step.Model(
            blocks=config.n_layer,
            channels=config.n_embd,
            heads=config.n_head,
            activation=ACTIVATIONS[config.activation_function],
            epsilon=config.layer_norm_epsilon,
            table=panels.table(model, self.precision, self._embeddings[0], take=take),
            scales=panels.vector(scales),
            unused=panels.keep(torch.tensor(model.unused_ids, dtype=torch.int64)),
            unused_count=len(model.unused_ids),
        )

    @torch.inference_mode()
    def _embed(self, pieces: Sequence[Piece]) -> Tensor:  # -> (tokens, C)
        ids = torch.tensor([i for piece in pieces for i in piece.ids])
        positions = torch.tensor(
            [piece.cache.length + i for piece in pieces for i in range(len(piece.ids))]
        )
        tokens, places = self._embeddings
        return tokens(ids).float() + places(positions).float()


class _Buffers:
    """What passes read and write besides weights and caches."""

    def __init__(self, config: GPT2Config, rows: int, threads: int) -> None:
        self._vocab_size = config.vocab_size
        scores = MOST_ROWS * (_up(config.n_positions, LANES) + _up(config.n_embd, LANES) + 1)
        scratch = max(scores, step.CHUNK)
        # Entries that no row uses stay 0: matrices of integers read whole groups.
        self._x = _matrix(rows, config.n_embd)
        self._texts = np.zeros((4, rows + 1), np.int64)  # starts, pasts, caches, capacities
        self._outputs = np.zeros(rows, np.int64)
        h, inner, y = (_matrix(rows, n) for n in (config.n_embd, config.inner, 3 * config.n_embd))
        short = _matrix(rows, max(config.n_embd, config.inner), np.int16)
        scales, scratches = np.zeros(rows, np.float32), _matrix(threads, scratch)
        self._logits = _matrix(0, config.vocab_size)
        self._chunks = np.zeros((0, -(-config.vocab_size // step.CHUNK), 3), np.float32)
        self._kept = h, inner, y, short, scales, scratches  # for rows, which has addresses alone
        starts, pasts, caches, capacities = (row.ctypes.data for row in self._texts)
        self.rows = step.Rows(
            count=0,
            texts=0,
            starts=starts,
            pasts=pasts,
            caches=caches,
            capacities=capacities,
            x=_buffer(self._x),
            h=_buffer(h),
            inner=_buffer(inner),
            y=_buffer(y),
            short=_buffer(short),
            scales=scales.ctypes.data,
            wanted=0,
            outputs=self._outputs.ctypes.data,
            logits=_buffer(self._logits),
            chunks=0,
            scratch=_buffer(scratches),
        )

    def prepare(self, pieces: Sequence[Piece], embedded: Tensor) -> step.Rows:
        """Put down what a pass shall read; embedded: (tokens, C)."""
        self._x[: len(embedded), : embedded.size(1)] = embedded.numpy()
        end = wanted = 0
        for number, piece in enumerate(pieces):
            cache = piece.cache
            self._texts[:, number] = end, cache.length, cache.address, cache.capacity
            end += len(piece.ids)
            self._outputs[wanted : wanted + piece.wanted] = range(end - piece.wanted, end)
            wanted += piece.wanted
        self._texts[0, len(pieces)] = end
        if wanted > len(self._logits):
            self._logits = _matrix(wanted, self._vocab_size)
            self._chunks = np.zeros((wanted, *self._chunks.shape[1:]), np.float32)
            self.rows = self.rows._replace(
                logits=_buffer(self._logits), chunks=self._chunks.ctypes.data
            )
        return self.rows._replace(count=end, texts=len(pieces), wanted=wanted)

    def logits(self, wanted: int) -> Logits:
        """Return what a pass has written."""
        most, ids, sums = self._chunks[:wanted].astype(np.float64).transpose(2, 0, 1)
        largest = most.max(axis=1)
        with np.errstate(invalid="ignore"):  # nan says that the model has diverged
            total = (sums * np.exp(most - largest[:, None])).sum(axis=1)
        best = most.argmax(axis=1)[:, None]
        return Logits(
            values=torch.from_numpy(self._logits[:wanted, : self._vocab_size]),
            likeliest=np.take_along_axis(ids, best, axis=1)[:, 0].astype(int).tolist(),
            largest=largest.tolist(),
            log_normalizers=(largest + np.log(total)).tolist(),
        )


def compile_pass() -> None:
    """Load the compiled pass; where there is none yet, say so and compile it."""
    kinds = step.Team, step.Rows, step.Model
    known = [typeof(_example(kind)) for kind in kinds]  # type: ignore[no-untyped-call]
    with install_listener("numba:compile", _Announcement()):
        step.forward.compile((*known, types.int64))  # type: ignore[attr-defined]


class _Announcement(Listener):
    """Says that Numba begins to compile the pass."""

    def on_start(self, event: Event) -> None:
        if event.data["dispatcher"] is not step.forward:  # what the pass calls
            return
        kept = (
            "for this process alone, as no folder for it is writable; NUMBA_CACHE_DIR may name one"
            if isinstance(step.forward._cache, NullCache)
            else "once; it is kept on disk"
        )
        log(f"Compiling the pass for this processor, which takes some 10 s ({kept})")

    def on_end(self, event: Event) -> None:
        pass


def _example(kind: Any) -> Any:
    """Return a value of a type: a number, or a NamedTuple of examples."""
    fields = getattr(kind, "_fields", None)
    return kind(*(_example(kind.__annotations__[name]) for name in fields)) if fields else kind()


def _buffer(matrix: NDArray[Any]) -> step.Buffer:
    return step.Buffer(matrix.ctypes.data, matrix.shape[1])


def _matrix(rows: int, entries: int, dtype: type = np.float32) -> NDArray[Any]:
    """Return zeros with rows of at least so many entries, which begin in different cache sets."""
    return np.zeros((rows, _up(entries, step.ROW_MULTIPLE) + 16), dtype)
