"""A batch of documents to tokens, and the tokens to the splits that their documents belong to."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gpt2.config import PrepareConfig
from gpt2.data.shards import SPLITS, Tokens
from gpt2.prepare.file_formats import Batch
from gpt2.prepare.hold_out import held_out
from gpt2.prepare.part_reader import SourcePosition
from gpt2.prepare.shard_writer import ShardWriter, WriterState
from llm_tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """The tokens of a batch of documents."""

    position: SourcePosition  # after the batch
    tokens: Tokens
    bounds: npt.NDArray[np.int64]  # those of text k are tokens[bounds[k] : bounds[k + 1]]
    sizes: npt.NDArray[np.int64]  # bytes of each text
    skipped: Counter[str]  # rows without a text, by what they were
    continues: bool  # the first text continues the last document of the batch before
    done: float  # share of the current file that has been read, 0 to 1


def tokenize(tokenizer: Tokenizer, positioned: tuple[SourcePosition, Batch]) -> TokenBatch:
    """Return the tokens of a batch, each document after an <|endoftext|>."""
    position, batch = positioned
    documents = batch.documents
    tokens, bounds = tokenizer.encode_documents(documents, opener=tokenizer.eot_token)
    if batch.continues:  # the first text's document has its opener already
        tokens, bounds = tokens[1:], np.maximum(bounds - 1, 0)
    return TokenBatch(
        position=position,
        tokens=tokens,
        bounds=bounds,
        sizes=pc.binary_length(documents).to_numpy().astype(np.int64),
        skipped=batch.skipped,
        continues=batch.continues,
        done=batch.done,
    )


def append(batch: TokenBatch, writer: ShardWriter, config: PrepareConfig) -> None:
    """Append each document of a batch to its split, and move the writer's state past the batch."""
    state = writer.state
    if number := len(batch.sizes):
        for_val = _for_val(batch, state, config)
        opens = np.arange(number) >= batch.continues
        lengths = np.diff(batch.bounds)
        for split in SPLITS:
            chosen = for_val if split == "val" else ~for_val
            if chosen.any():
                starts = np.cumsum(lengths[chosen]) - lengths[chosen]
                tokens = _tokens_of(batch, chosen)
                writer.append(split, tokens, starts, batch.sizes[chosen], opens[chosen])
        state.documents += number - batch.continues
        state.last_split = "val" if for_val[-1] else "train"
    state.skipped = dict(Counter(state.skipped) + batch.skipped)
    state.position = batch.position


def _tokens_of(batch: TokenBatch, chosen: npt.NDArray[np.bool_]) -> Tokens:
    """Return the tokens of the chosen texts, of which there is one at least."""
    runs = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2)
    parts = [batch.tokens[first:last] for first, last in batch.bounds[runs]]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _for_val(batch: TokenBatch, state: WriterState, config: PrepareConfig) -> npt.NDArray[np.bool_]:
    """Return for each text whether it is held out: if it is drawn, up to most_val_tokens."""
    continued = int(batch.continues)  # texts that continue a document: one or none
    for_val = np.zeros(len(batch.sizes), np.bool_)
    for_val[:continued] = state.last_split == "val"  # a document stays in one split
    if state.val_full:
        return for_val
    numbers = state.documents + np.arange(len(for_val) - continued)
    drawn = continued + np.flatnonzero(held_out(numbers, config.hold_out, config.seed))
    held = state.tokens("val")
    fits = held + np.cumsum(np.diff(batch.bounds)[drawn]) <= config.most_val_tokens
    if held == 0 and config.most_val_tokens > 0:
        fits[:1] = True  # one, however long
    state.val_full = not fits.all()
    for_val[drawn[fits]] = True
    return for_val
