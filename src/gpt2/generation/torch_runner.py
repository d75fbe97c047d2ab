"""Runs the network itself, on any device.

Dimension key: L blocks, B rows, T new tokens a row, S tokens with the cached ones, H heads, D
channels a head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2 import devices
from gpt2.files.pretrained import GPT2
from gpt2.generation.runner import Logits, Piece
from gpt2.model.gpt import evaluating


class SlotCache:
    """Keys and values of texts that are read together, each of its own length.

    Args:
        memory: Keys and values, (2, L, B, H, S, D); written to in place.
        lengths: Tokens that are cached of each row, (B,).
        longest: The largest of `lengths`.
        seen: S: no row may come to have more tokens.
    """

    def __init__(self, memory: Tensor, lengths: Tensor, longest: int, seen: int) -> None:
        self._memory = memory
        self._lengths = lengths
        self._seen = seen
        self._positions = lengths[:, None]
        self.longest = longest

    def positions(self, new: int) -> Tensor:  # (B, T)
        """Return the positions of so many new tokens of each row."""
        self._positions = self._lengths[:, None] + torch.arange(new, device=self._lengths.device)
        return self._positions

    def mask(self, positions: Tensor) -> Tensor:  # (B, T) -> (B, 1, T, S)
        """Return which tokens the new ones may attend to: themselves and those before."""
        columns = torch.arange(self._seen, device=positions.device)
        return (columns <= positions[..., None])[:, None]

    def block(self, index: int) -> "SlotBlockCache":
        """Return the cache of one block by its 0-based index."""
        return SlotBlockCache(self._memory[:, index], self._positions, self._seen)


@dataclass(frozen=True)
class SlotBlockCache:
    """The keys and values of one block."""

    memory: Tensor  # (2, B, H, S_max, D)
    positions: Tensor  # of the new tokens, (B, T)
    seen: int

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:  # (B, H, T, D) -> (B, H, S, D)
        """Append those of the new tokens, and return all."""
        places = self.positions[:, None, :, None].expand_as(k)
        for cached, new in zip(self.memory, (k, v), strict=True):
            cached.scatter_(2, places, new.to(cached.dtype))
        keys, values = self.memory[:, :, :, : self.seen]
        return keys, values


class Slot:
    """A text's row in the memory of its runner."""

    def __init__(self, runner: "TorchRunner", number: int) -> None:
        self.number = number
        self._runner = runner
        self.length = 0

    def __del__(self) -> None:
        self._runner.free.add(self.number)

    @property
    def length(self) -> int:
        """Tokens that are cached."""
        return self._runner.lengths[self.number]

    @length.setter
    def length(self, length: int) -> None:
        self._runner.lengths[self.number] = length

    @torch.inference_mode()
    def copy_from(self, other: "Slot", length: int) -> None:
        """Take over the first `length` tokens of another text, and forget all others."""
        memory = self._runner.memory
        memory[:, :, self.number, :, :length] = memory[:, :, other.number, :, :length]
        self.length = length


def slot_bytes(model: GPT2) -> int:
    """Return the memory of a text's keys and values."""
    config = model.config
    return 2 * config.n_layer * config.n_positions * config.n_embd * model.wpe.weight.itemsize


class TorchRunner:
    """Computes logits by the network.

    Args:
        model: Read at each pass, not copied.
        slots: Texts that it keeps at the most.
    """

    is_invariant = False  # torch adds up in another order for another number of rows
    most_tokens = 512  # of one pass

    @torch.inference_mode()
    def __init__(self, model: GPT2, slots: int) -> None:
        config = model.config
        size = config.n_embd // config.n_head
        self._model = model
        self._n_positions = config.n_positions
        self.memory = torch.zeros(
            (2, config.n_layer, slots, config.n_head, config.n_positions, size),
            dtype=model.wpe.weight.dtype,
            device=model.device,
        )
        self.lengths = [0] * slots
        self.free = set(range(slots))
        self._unused = torch.tensor(model.unused_ids, dtype=torch.long, device=model.device)
        self._graphs: dict[int, Callable[[Tensor], Tensor]] = {}

    def bytes_of(self, capacity: int) -> int:
        """Return the memory of a cache: all hold n_positions tokens, whatever is asked for."""
        return self.memory[:, :, 0].nbytes

    def new_cache(self, capacity: int) -> Slot:
        """Return an empty cache."""
        number = min(self.free)  # a pass computes all rows up to the last in use
        self.free.remove(number)
        return Slot(self, number)

    @torch.inference_mode()
    def run(self, pieces: Sequence[Piece]) -> Logits:
        """Read new tokens: pieces of one token together, the others one by one."""
        single = [piece for piece in pieces if len(piece.ids) == piece.wanted == 1]
        with evaluating(self._model):
            steps = iter(self._decode(single) if single else ())
            logits = [next(steps) if piece in single else self._prefill(piece) for piece in pieces]
        for piece in pieces:
            piece.cache.length += len(piece.ids)
        return self._result(torch.cat(logits).float())

    def _prefill(self, piece: Piece) -> Tensor:  # -> (wanted, V)
        number, past = piece.cache.number, piece.cache.length
        cache = SlotCache(
            self.memory[:, :, number : number + 1],
            devices.move(torch.tensor([past]), self.memory.device),
            past,
            past + len(piece.ids),
        )
        ids = devices.move(torch.tensor([piece.ids]), self.memory.device)
        hidden = self._model.hidden(ids, cache)[0]
        return self._model.logits(hidden[len(hidden) - piece.wanted :])

    def _decode(self, pieces: Sequence[Piece]) -> list[Tensor]:
        """Return the logits (1, V) of each piece of one token, all read in one pass."""
        numbers = [piece.cache.number for piece in pieces]
        rows = min(1 << max(numbers).bit_length(), len(self.lengths))
        # Other rows get a token, too, which the next one overwrites: at the end, the last is lost.
        for row in set(range(rows)).difference(numbers):
            self.lengths[row] = min(self.lengths[row], self._n_positions - 1)
        ids = [0] * rows
        for piece, number in zip(pieces, numbers, strict=True):
            ids[number] = piece.ids[0]
        inputs = devices.move(torch.tensor([ids, self.lengths[:rows]]), self.memory.device)
        if self.memory.is_cuda:
            logits = self._replay(inputs)
        else:
            logits = self._step(inputs, max(self.lengths[:rows]) + 1)
        return [logits[number, None] for number in numbers]

    def _step(self, inputs: Tensor, seen: int) -> Tensor:  # ids and lengths, (2, B) -> (B, V)
        ids, lengths = inputs
        cache = SlotCache(self.memory[:, :, : len(ids)], lengths, seen - 1, seen)
        return self._model.logits(self._model.hidden(ids[:, None], cache)[:, -1])

    def _replay(self, inputs: Tensor) -> Tensor:  # (2, B) -> (B, V)
        """Return what `_step` does, by a CUDA graph: a step's kernels are launched all at once."""
        rows = inputs.size(1)
        if rows not in self._graphs:
            self._graphs[rows] = self._record(inputs.clone())
        return self._graphs[rows](inputs)

    def _record(self, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Record a step that reads its inputs from this tensor.

        Source: torch.cuda.graph; it wants some runs in another stream before it records.
        """
        current, other = torch.cuda.current_stream(), torch.cuda.Stream()
        other.wait_stream(current)
        with torch.cuda.stream(other):
            for _ in range(3):
                self._step(inputs, self._n_positions)
        current.wait_stream(other)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._step(inputs, self._n_positions)

        def replay(new: Tensor) -> Tensor:
            inputs.copy_(new)
            graph.replay()
            return logits

        return replay

    def _result(self, logits: Tensor) -> Logits:  # (wanted, V)
        logits[:, self._unused] = float("-inf")
        largest, likeliest = logits.max(dim=-1)
        numbers = torch.stack([likeliest.float(), largest, logits.logsumexp(dim=-1)])
        likeliest_ids, *others = numbers.tolist()  # on a GPU this waits, once a pass
        return Logits(logits, [int(i) for i in likeliest_ids], *others)
