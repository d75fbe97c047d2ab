"""What a language model has to beat on the same held-out text, in bits per byte."""

import lzma
import math
from dataclasses import dataclass

import numpy as np

from gpt2.data.shards import TokenData, Tokens
from llm_tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Bits per byte of held-out text, of three models simpler than a network."""

    uniform_bytes: float  # each byte as likely as any other
    unigram: float  # each token as likely as it is frequent in the training tokens
    xz: float  # `xz -9` that has read the training text first


def measure(data: TokenData) -> Baselines:
    """Measure the baselines of prepared data; the text is read back from the tokens."""
    train, val = np.concatenate(data.train), np.concatenate(data.val)
    train_text, val_text = (text_of(tokens, data.tokenizer) for tokens in (train, val))
    nats = unigram_nats(train, val, data.tokenizer.n_vocab)
    return Baselines(
        uniform_bytes=8.0,
        unigram=nats / math.log(2) / len(val_text),
        xz=8 * (_xz_bytes(train_text + val_text) - _xz_bytes(train_text)) / len(val_text),
    )


def text_of(tokens: Tokens, tokenizer: Tokenizer) -> bytes:
    """Return the text of a shard's tokens, without the document openers."""
    return tokenizer.decode_bytes(tokens[tokens != tokenizer.eot_token].tolist())


def unigram_nats(train: Tokens, val: Tokens, n_vocab: int) -> float:
    """Return the nats of `val` under the frequencies in `train`, one added to each count.

    Source: Laplace smoothing; the one added gives a token that training lacks a probability.
    """
    counts = np.bincount(train, minlength=n_vocab) + 1
    return float(-np.log(counts / counts.sum())[val].sum())


def _xz_bytes(text: bytes) -> int:
    # Preset 9 with a dictionary that reaches back over all of the text, and without the container.
    dictionary = max(2**16, 2 ** (len(text) - 1).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
    return len(lzma.compress(text, format=lzma.FORMAT_RAW, filters=filters))
