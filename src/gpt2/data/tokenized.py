"""A batch of documents as tokens, and which of them go to which split."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gpt2.config import PrepareConfig
from gpt2.data.hold_out import held_out
from gpt2.data.readers import Batch
from gpt2.data.shard_writer import ShardWriter, State
from gpt2.data.shards import SPLITS, Tokens
from gpt2.data.source_reader import Place
from llm_tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """The tokens of a batch."""

    place: Place  # after it
    tokens: Tokens
    bounds: npt.NDArray[np.int64]  # those of text k are tokens[bounds[k] : bounds[k + 1]]
    sizes: npt.NDArray[np.int64]  # bytes of each text
    skipped: Counter[str]
    continues: bool
    done: float


def tokenize(tokenizer: Tokenizer, placed: tuple[Place, Batch]) -> Tokenized:
    """Return the tokens of a batch, each document after an <|endoftext|>."""
    place, batch = placed
    documents = batch.documents
    tokens, bounds = tokenizer.encode_documents(documents, opener=tokenizer.eot_token)
    if batch.continues:  # the first text has had its opener
        tokens, bounds = tokens[1:], np.maximum(bounds - 1, 0)
    return Tokenized(
        place=place,
        tokens=tokens,
        bounds=bounds,
        sizes=pc.binary_length(documents).to_numpy().astype(np.int64),
        skipped=batch.skipped,
        continues=batch.continues,
        done=batch.done,
    )


def append(tokenized: Tokenized, writer: ShardWriter, config: PrepareConfig) -> None:
    """Append a batch to the splits that its documents belong to, and tell the state."""
    state = writer.state
    if number := len(tokenized.sizes):
        for_val = _for_val(tokenized, state, config)
        opens = np.arange(number) >= tokenized.continues
        lengths = np.diff(tokenized.bounds)
        for split in SPLITS:
            chosen = for_val if split == "val" else ~for_val
            if chosen.any():
                starts = np.cumsum(lengths[chosen]) - lengths[chosen]
                tokens = _of_texts(tokenized, chosen)
                writer.append(split, tokens, starts, tokenized.sizes[chosen], opens[chosen])
        state.documents += number - tokenized.continues
        state.last_split = "val" if for_val[-1] else "train"
    state.skipped = dict(Counter(state.skipped) + tokenized.skipped)
    state.place = tokenized.place


def _of_texts(tokenized: Tokenized, chosen: npt.NDArray[np.bool_]) -> Tokens:
    """Return the tokens of some of the texts, one at least."""
    runs = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2)
    places = tokenized.bounds[runs]
    parts = [tokenized.tokens[first:last] for first, last in places]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _for_val(tokenized: Tokenized, state: State, config: PrepareConfig) -> npt.NDArray[np.bool_]:
    """Say of each text if it is held out: as drawn, until the next would be more than is wanted."""
    begun = int(tokenized.continues)
    for_val = np.zeros(len(tokenized.sizes), np.bool_)
    for_val[:begun] = state.last_split == "val"  # a document stays in one split
    if state.val_full:
        return for_val
    numbers = state.documents + np.arange(len(for_val) - begun)
    drawn = begun + np.flatnonzero(held_out(numbers, config.hold_out, config.seed))
    had = state.tokens("val")
    fits = had + np.cumsum(np.diff(tokenized.bounds)[drawn]) <= config.most_val_tokens
    if had == 0 and config.most_val_tokens > 0:
        fits[:1] = True  # one, however long
    state.val_full = not fits.all()
    for_val[drawn[fits]] = True
    return for_val
