"""How likely a model finds continuations of contexts: what every evaluation is made of.

Questions are read in passes of several rows, see `packing`. Logits are computed for the scored
tokens alone, a part of the vocabulary at a time, so that they stay in a processor's cache and the
whole of them is never in memory.

Dimension key: B rows, T tokens a row, C channels, V vocabulary, S scored tokens.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gpt2.devices import autocast
from gpt2.errors import ConfigError, NotFiniteError
from gpt2.evaluate.packing import (
    Question,
    Row,
    SharedContext,
    rows_of,
    scored_tokens,
    stacked,
)
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network, evaluating

LOOK_AHEAD = 1024  # questions that are sorted by length together: equal ones need no padding
HEAD_ROWS, HEAD_IDS = 2048, 2048  # logits that are computed at once: 16 MiB in float32
# The memory that the process takes from the system over that of its tensors, as blocks of several
# sizes leave gaps. 1.8 was measured with glibc.
FRAGMENTATION = 2
# Tokens of a pass: enough to read the weights seldom, few enough that a CPU's caches hold what a
# layer hands to the next. Of a GPU an estimate, not measured.
PREFERRED_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 16384}


@dataclass(frozen=True)
class Score:
    """How likely a continuation is."""

    nats: NDArray[np.float64]  # negative log-likelihood of each of its tokens
    hits: NDArray[np.bool_]  # whether each token is the likeliest one, the first among equals

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the likeliest one."""
        return bool(np.all(self.hits))

    @property
    def total(self) -> float:
        """Negative log-likelihood of the continuation, in nats."""
        return float(self.nats.sum())


class Scorer:
    """Scores questions by a model.

    Args:
        model: Evaluated without dropout.
        memory: Bytes that a pass may take beside the weights; None: a size that suits the device,
            about 0.2 GB of a CPU for GPT-2 124M.
        dtype: Of the matrix products; the model's own if None.
    Raises:
        ConfigError: The memory does not suffice for one row.
    """

    def __init__(
        self, model: GPT2, *, memory: int | None = None, dtype: torch.dtype | None = None
    ) -> None:
        self.model = model
        self._dtype = dtype or torch.float32  # float32: no autocast, so the model's own
        self._longest = model.config.n_positions
        self._banned: Tensor | None = None
        self._tokens = max(PREFERRED_TOKENS[model.device.type], self._longest)
        if memory is not None:
            self._tokens = min(self._tokens, tokens_within(memory, model))
        if self._tokens < self._longest:
            least = memory_of(self._longest, model)
            raise ConfigError(
                f"memory must be at least {least / 1e9:.2f} GB to score {self._longest} tokens at "
                f"once, got {(memory or 0) / 1e9:.2f}"
            )

    def without(self, banned: Sequence[int]) -> "Scorer":
        """Return a scorer that never takes some ids for the likeliest to begin a continuation.

        Their probability stays: nats are the same.
        """
        other = copy.copy(self)
        other._banned = torch.zeros(self.model.lm_head.weight.size(0), dtype=torch.bool)
        other._banned[list(banned)] = True
        other._banned = other._banned.to(self.model.device)
        return other

    def score(self, questions: Iterable[Question]) -> Iterator[tuple[int, list[Score]]]:
        """Yield the number of each question and the scores of its continuations.

        Questions come in the order in which they are computed, long ones first, some read ahead.

        Raises:
            InputError: A context or a continuation is empty, or longer than the model can read.
            NotFiniteError: A loss is not finite.
        """
        numbered = enumerate(questions)
        while block := list(islice(numbered, LOOK_AHEAD)):
            counts = {number: len(question.continuations) for number, question in block}
            found: dict[int, dict[int, Score]] = {number: {} for number in counts}
            for rows in self.plan(block):
                for row, scores in zip(rows, self.run(rows), strict=True):
                    found[row.number] |= zip(row.indices, scores, strict=True)
                    if len(found[row.number]) == counts[row.number]:  # in some rows, if need be
                        done = found.pop(row.number)
                        yield row.number, [done[index] for index in sorted(done)]

    def plan(self, questions: Iterable[tuple[int, Question]]) -> list[list[Row]]:
        """Return the passes that score some numbered questions: the rows of each."""
        rows = [row for number, each in questions for row in rows_of(number, each, self._longest)]
        rows.sort(key=lambda row: (row.is_forked, -row.length))
        passes: list[list[Row]] = []
        for row in rows:
            current = passes[-1] if passes else []
            fits = current and (len(current) + 1) * current[0].length <= self._tokens
            if fits and current[0].is_forked == row.is_forked:
                current.append(row)
            else:
                passes.append([row])
        return passes

    @torch.no_grad()  # and no inference mode: sharded weights that are gathered must be trainable
    def run(self, rows: Sequence[Row]) -> list[list[Score]]:
        """Return the scores of the continuations of each row of a pass."""
        model, device = self.model, self.model.device
        ids = torch.from_numpy(stacked([row.ids for row in rows])).to(device)
        shared = None
        if rows[0].is_forked:
            branches = torch.from_numpy(stacked([row.branches for row in rows])).to(device)
            positions = torch.from_numpy(stacked([row.positions for row in rows])).to(device)
            shared = SharedContext(branches, positions)
        places, targets, starts = scored_tokens(rows, ids.size(1))
        with evaluating(model), autocast(device, self._dtype):
            hidden = model.hidden(ids, shared).flatten(0, 1)  # (B * T, C)
            nats, likeliest = target_nats(
                hidden[torch.from_numpy(places).to(device)],
                model.lm_head.weight,
                torch.from_numpy(targets).to(device),
                self._banned_at(starts, len(targets)),
            )
        if not nats.isfinite().all():
            raise NotFiniteError(
                "the model's loss must be finite, and is not: its weights have diverged; take "
                "those of an earlier checkpoint"
            )
        losses = np.split(nats.cpu().double().numpy(), starts[1:])
        hits = np.split(likeliest.cpu().numpy() == targets, starts[1:])
        found = map(Score, losses, hits)
        return [[next(found) for _ in row.indices] for row in rows]

    def _banned_at(self, starts: NDArray[np.int64], count: int) -> "Banned | None":
        if self._banned is None:
            return None
        is_first = torch.zeros(count, dtype=torch.bool)
        is_first[starts] = True
        return Banned(self._banned, is_first.to(self.model.device))


@dataclass(frozen=True)
class Banned:
    """Ids that are not taken for the likeliest, in some places."""

    ids: Tensor  # of each id whether it is banned, (V,)
    places: Tensor  # of each scored token whether its place is one of them, (S,)


def target_nats(
    hidden: Tensor, weight: Tensor, targets: Tensor, banned: Banned | None = None
) -> tuple[Tensor, Tensor]:  # (S, C), (V, C), (S,) -> (S,), (S,)
    """Return the negative log-likelihood of each target, and the likeliest id in its place.

    Args:
        hidden: What the head reads.
        weight: The head.
        targets: Token ids.
        banned: Ids that are not taken for the likeliest.
    Returns:
        Nats, float32; and ids, of equal logits the lowest.
    """
    found = []
    for first in range(0, len(targets), HEAD_ROWS):
        rows = slice(first, first + HEAD_ROWS)
        here = banned and Banned(banned.ids, banned.places[rows])
        found.append(_part_nats(hidden[rows], weight, targets[rows], here))
    nats, likeliest = zip(*found, strict=True)
    return torch.cat(nats), torch.cat(likeliest)


def _part_nats(
    hidden: Tensor, weight: Tensor, targets: Tensor, banned: Banned | None
) -> tuple[Tensor, Tensor]:
    """Do as `target_nats` does, for so few tokens that some columns of logits fit into a cache."""
    normalizers, largest, ids = [], [], []
    at_target = torch.zeros(len(targets), device=hidden.device)
    for first in range(0, len(weight), HEAD_IDS):
        logits = F.linear(hidden, weight[first : first + HEAD_IDS]).float()
        columns = (targets - first).clamp(0, logits.size(1) - 1)[:, None]
        is_here = (targets >= first) & (targets < first + HEAD_IDS)
        at_target = torch.where(is_here, logits.gather(1, columns)[:, 0], at_target)
        most, place = logits.max(dim=1)
        shift = most
        if banned:
            is_banned = banned.places[:, None] & banned.ids[first : first + HEAD_IDS]
            most, place = logits.masked_fill(is_banned, -torch.inf).max(dim=1)
        largest.append(most)
        ids.append(place + first)
        normalizers.append(logits.sub_(shift[:, None]).exp_().sum(dim=1).log() + shift)
    part = torch.stack(largest).argmax(dim=0, keepdim=True)  # the first of equal ones
    nats = torch.stack(normalizers).logsumexp(dim=0) - at_target
    return nats, torch.stack(ids).gather(0, part)[0]


def memory_of(tokens: int, model: GPT2Network) -> int:
    """Return the bytes that a pass of so many tokens takes at the most, beside the weights."""
    config, size = model.config, model.wpe.weight.itemsize
    # In the MLP: the residual stream, its norm, and both sides of the activation. In attention: the
    # stream, its norm, queries, keys and values, the sums, their copy, and the output.
    widest = max(2 * config.n_embd + 2 * config.inner, 8 * config.n_embd)
    mask = 5 * config.n_positions  # of a token: a boolean and, of the same entry, a float32
    if any(model.block(i).attn.backend == "manual" for i in range(config.n_layer)):
        mask += 3 * config.n_head * config.n_positions * size  # scores, masked, and their softmax
    scored = config.n_embd * size
    logits = HEAD_ROWS * HEAD_IDS * 8  # in bfloat16 and, a copy, in float32
    return int(FRAGMENTATION * (tokens * (widest * size + mask + scored + 64) + logits))


def tokens_within(memory: int, model: GPT2Network) -> int:
    """Return the tokens of a pass that takes at most so many bytes; 0 or less if none fits."""
    constant, token = memory_of(0, model), memory_of(1, model) - memory_of(0, model)
    return (memory - constant) // token
