"""A model beside three simpler ones, on the same held-out text."""

import lzma
import math
from dataclasses import dataclass

import numpy as np
import torch

from gpt2.data.shard_folder import TokenData
from gpt2.data.shards import Tokens
from gpt2.evaluate.perplexity import held_out_text, perplexity, text_of
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How well four models predict the held-out text, in nats a token and bits a byte of text."""

    tokens: int
    bytes: int
    uniform_bits: float  # each byte as likely as any other
    unigram_nats: float  # each token as likely as it is frequent in the training tokens
    xz_bits: float  # `xz -9` that has read the training text first
    model_nats: float

    def bits_per_byte(self, nats_per_token: float) -> float:
        """Return nats a token as bits a byte."""
        return nats_per_token * self.tokens / self.bytes / math.log(2)

    def to_markdown(self) -> str:
        """Return the table of the four."""
        unigram, model = (
            f"{nats:.3f} | {self.bits_per_byte(nats):.3f}"
            for nats in (self.unigram_nats, self.model_nats)
        )
        return "\n".join(
            [
                "| model of the held-out text | nats/token | bits/byte |",
                "|---|---|---|",
                f"| uniform bytes | | {self.uniform_bits:.3f} |",
                f"| unigram, the same tokens | {unigram} |",
                f"| xz -9 after the training text | | {self.xz_bits:.3f} |",
                f"| this GPT-2 | {model} |",
            ]
        )


def compare(model: GPT2, data: TokenData, *, dtype: torch.dtype) -> Comparison:
    """Measure a model and the simpler ones on the held-out tokens of prepared data.

    Args:
        model: Reads the tokens in windows that overlap by half, see `perplexity`.
        data: The text of the byte models is read back from its tokens.
        dtype: Of the model's matrix products.
    """
    found = perplexity(Scorer(model, dtype=dtype), [held_out_text(model, data)])
    train, val = np.concatenate(data.train), np.concatenate(data.val)
    train_text, val_text = (text_of(tokens, data.tokenizer) for tokens in (train, val))
    return Comparison(
        tokens=found.tokens,
        bytes=found.bytes,
        uniform_bits=8.0,
        unigram_nats=unigram_nats(train, val[1:], data.tokenizer.n_vocab),
        xz_bits=8 * (_xz_bytes(train_text + val_text) - _xz_bytes(train_text)) / len(val_text),
        model_nats=found.figures["nats_per_token"],
    )


def unigram_nats(train: Tokens, val: Tokens, n_vocab: int) -> float:
    """Return the nats a token of `val` under the frequencies in `train`, one added to each count.

    Source: Laplace smoothing; the one added gives a token that training lacks a probability.
    """
    counts = np.bincount(train, minlength=n_vocab) + 1
    return float(-np.log(counts / counts.sum())[val].mean())


def _xz_bytes(text: bytes) -> int:
    # Preset 9 with a dictionary that reaches back over all of the text, and without the container.
    dictionary = max(2**16, 2 ** (len(text) - 1).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
    return len(lzma.compress(text, format=lzma.FORMAT_RAW, filters=filters))
