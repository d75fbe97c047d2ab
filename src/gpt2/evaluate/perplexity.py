"""How well a model predicts a text: perplexity, in the units that papers use.

A model sees n_positions tokens at once. A longer text is read in windows that overlap by half, and
each token is scored once, in the first window that holds it, so that all but the text's own first
tokens have at least half a context before them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gpt2.data.shard_folder import TokenData
from gpt2.data.shards import Tokens
from gpt2.devices import autocast
from gpt2.errors import DataError, InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network, evaluating
from llm_tokenizer import Tokenizer, well_formed


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """The surprise of a model at a text; all figures follow from the same sum of nats."""

    nats_per_token: float  # mean negative log-likelihood
    token_perplexity: float  # exp(nats_per_token): depends on the tokenizer
    bits_per_byte: float  # of UTF-8: comparable between tokenizers
    bits_per_character: float
    word_perplexity: float  # exp(nats per word), words being what white space separates
    tokens: int
    bytes: int
    standard_error: float  # of nats_per_token, were the tokens independent


Show = Callable[[int, int], None]  # is given the tokens scored so far, and all


def _show_nothing(done: int, total: int) -> None:
    """Stand in for a display of progress."""


def text_perplexity(
    model: GPT2, text: str, *, dtype: torch.dtype = torch.float32, show: Show = _show_nothing
) -> Perplexity:
    """Measure a model on a text, which is taken to follow an <|endoftext|>.

    Args:
        model: With a tokenizer.
        text: Special tokens in it are read as ordinary text.
        dtype: Of the matrix products.
        show: Called before the first window of tokens, and after each.
    Raises:
        InputError: The text is empty, or the model has no tokenizer.
        NotFiniteError: The loss is not finite.
        UnknownTokenError: The tokenizer has no <|endoftext|>.
    """
    tokenizer = model.require_tokenizer()
    ids = tokenizer.encode_ordinary(text)
    if not ids:
        raise InputError("the text is empty: wanted at least one token to predict")
    tokens = np.array([tokenizer.eot_token, *ids], dtype=np.int64)
    nats = token_nats(model, torch.from_numpy(tokens), dtype=dtype, show=show)
    return summarize(
        nats,
        text_bytes=len(well_formed(text).encode()),
        characters=len(text),
        words=len(text.split()),
    )


def held_out_perplexity(
    model: GPT2, data: TokenData, *, dtype: torch.dtype = torch.float32, show: Show = _show_nothing
) -> Perplexity:
    """Measure a model on the held-out tokens of prepared data, as one text.

    Args:
        model: With a tokenizer.
        data: Its documents follow one another; their openers are predicted, too, but count neither
            as bytes nor as characters or words.
        dtype: Of the matrix products.
        show: Called before the first window of tokens, and after each.
    Raises:
        InputError: The model has no tokenizer, or another one than the data.
        DataError: There are no held-out tokens.
        NotFiniteError: The loss is not finite.
    """
    if model.require_tokenizer().fingerprint != data.tokenizer.fingerprint:
        raise InputError("the data must have the vocabulary of the model, and have another one")
    data.check_ids(model.config.vocab_size)
    if sum(map(len, data.val)) < 2:
        raise DataError("the data must have held-out tokens to measure a model on, and have none")
    val = np.concatenate(data.val)
    # The first token, which opens the first document, is given and not predicted.
    nats = token_nats(model, torch.from_numpy(val.astype(np.int64)), dtype=dtype, show=show)
    text = text_of(val[1:], data.tokenizer)
    characters = text.decode(errors="replace")
    return summarize(
        nats, text_bytes=len(text), characters=len(characters), words=len(characters.split())
    )


def text_of(tokens: Tokens, tokenizer: Tokenizer) -> bytes:
    """Return the text of a shard's tokens, without the document openers."""
    return tokenizer.decode_bytes(tokens[tokens != tokenizer.eot_token].tolist())


def summarize(nats: Tensor, *, text_bytes: int, characters: int, words: int) -> Perplexity:
    """Return every figure from the nats of each token, float64, and the lengths of the text."""
    total = nats.sum().item()
    mean = total / len(nats)
    return Perplexity(
        nats_per_token=mean,
        token_perplexity=_exp(mean),
        bits_per_byte=total / math.log(2) / max(text_bytes, 1),
        bits_per_character=total / math.log(2) / max(characters, 1),
        word_perplexity=_exp(total / max(words, 1)),
        tokens=len(nats),
        bytes=text_bytes,
        standard_error=nats.std(correction=0).item() / math.sqrt(len(nats)),
    )


@torch.inference_mode()
def token_nats(
    model: GPT2Network,
    tokens: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    show: Show = _show_nothing,
) -> Tensor:  # (N,) -> (N - 1,)
    """Return the negative log-likelihood of each token but the first, in nats, float64.

    Args:
        model: Evaluated without dropout.
        tokens: At least two ids, (N,).
        dtype: Of the matrix products.
        show: Called before the first window of tokens, and after each.
    Raises:
        NotFiniteError: A loss is not finite.
    """
    length = model.config.n_positions
    stride = max(1, length // 2)
    last = len(tokens) - 1  # the last token is only predicted, never read
    scored: list[Tensor] = []
    done = 0  # tokens scored
    show(done, last)
    with evaluating(model), autocast(model.device, dtype):
        for start in range(0, max(1, last - length + stride), stride):
            stop = min(start + length, last)
            inputs = tokens[start:stop].to(model.device)
            targets = tokens[done + 1 : stop + 1].to(model.device)
            logits = model(inputs[None])[0, done - start :].float()
            scored.append(F.cross_entropy(logits, targets, reduction="none").cpu().double())
            done = stop
            if not scored[-1].isfinite().all():
                raise NotFiniteError(
                    "the model's loss must be finite, and is not: its weights have diverged; take "
                    "those of an earlier checkpoint"
                )
            show(done, last)
    return torch.cat(scored)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf  # beyond the range of a float
