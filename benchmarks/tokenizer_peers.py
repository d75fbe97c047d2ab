"""Which packages encode as GPT-2 does, and how is each called at its fastest?

quicktok is left out, as it cannot take GPT-2's vocabulary. How many threads a peer uses is set by
the environment before it first encodes: RAYON_NUM_THREADS, and for tokenizers
TOKENIZERS_PARALLELISM, too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gigatoken
import numpy as np
import riptoken
import snaptokens
import splintr
import tiktoken
import tokenizers

from llm_tokenizer import Tokenizer

OURS = "gpt2-from-scratch"
# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
TIKTOKEN_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
# The largest text, in bytes, of which to make a list, and for peers of fewer MB/s than 30 or so.
LARGE, SLOW = 100_000_000, 10_000_000


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A package, and one of its ways to encode."""

    package: str
    call: str
    make: Callable[[], Any]
    encode: Callable[[Any, Any], Any]  # (tokenizer, text as `takes`) -> what `ids` reads
    ids: Callable[[Any], Any] = np.asarray  # -> an array
    takes: type[str] | type[bytes] = str
    most_bytes: float = math.inf  # larger texts need too much time or memory

    @property
    def name(self) -> str:
        """The package, its version and the call."""
        return f"{self.package} {version(self.package)} {self.call}"

    @property
    def is_slow(self) -> bool:
        """Whether it takes small texts only, and has fewer rounds."""
        return self.most_bytes <= SLOW


def makers(tokenizer_json: Path) -> dict[str, Callable[[], Any]]:
    """Return what makes a new tokenizer of each package, with our copy of the vocabulary."""
    gpt2, file = Tokenizer.gpt2(), str(tokenizer_json)
    ranks, specials = dict(gpt2.vocabulary.token_ids), dict(gpt2.vocabulary.special_tokens)
    return {
        OURS: Tokenizer.gpt2,
        "gigatoken": lambda: gigatoken.Tokenizer.from_json(tokenizer_json.read_bytes()),
        "snaptokens": lambda: snaptokens.Tokenizer.from_file(file),
        "splintr-rs": lambda: splintr.from_json(file),
        "riptoken": lambda: riptoken.CoreBPE(ranks, specials, TIKTOKEN_SPLIT),
        "tiktoken": lambda: tiktoken.Encoding(
            "gpt2", pat_str=TIKTOKEN_SPLIT, mergeable_ranks=ranks, special_tokens=specials
        ),
        "tokenizers": lambda: tokenizers.Tokenizer.from_file(file),
    }


def for_long_texts(make: dict[str, Callable[[], Any]]) -> list[Peer]:
    """Return ours, then the others: first the ways that give numbers, then those that give lists.

    Args:
        make: See `makers`.
    """
    arrays = [
        peer(make, OURS, "encode_to_array", lambda t, text: t.encode_to_array(text)),
        peer(make, "gigatoken", "encode", lambda t, utf8: t.encode(utf8), takes=bytes),
        peer(
            make,
            "snaptokens",
            "encode_batch_flat",
            lambda t, text: t.encode_batch_flat([text]),
            ids=lambda flat: np.frombuffer(flat[0], np.uint32),
        ),
        peer(
            make,
            "tiktoken",
            "encode_to_numpy",
            lambda t, text: t.encode_to_numpy(text, disallowed_special=()),
            most_bytes=SLOW,
        ),
    ]
    return arrays + [
        peer(make, package, call, encode, most_bytes=LARGE if package == OURS else SLOW)
        for package, call, encode in (
            (OURS, "encode_ordinary, list", lambda t, text: t.encode_ordinary(text)),
            ("snaptokens", "encode, list", lambda t, text: t.encode(text).ids),
            ("splintr-rs", "encode, list", lambda t, text: t.encode(text)),
            ("riptoken", "encode_ordinary, list", lambda t, text: t.encode_ordinary(text)),
            ("tiktoken", "encode_ordinary, list", lambda t, text: t.encode_ordinary(text)),
            ("tokenizers", "encode, list", encode_with_tokenizers),
        )
    ]


def for_short_texts(make: dict[str, Callable[[], Any]]) -> list[Peer]:
    """Return ours, then the others, each with the call that a server makes: a list of a text.

    Args:
        make: See `makers`.
    """
    return [
        peer(make, OURS, "encode", lambda t, text: t.encode(text)),
        peer(make, "gigatoken", "encode, tolist", lambda t, utf8: t.encode(utf8).tolist(), bytes),
        peer(make, "snaptokens", "encode", lambda t, text: t.encode(text).ids),
        peer(make, "splintr-rs", "encode", lambda t, text: t.encode(text)),
        peer(make, "riptoken", "encode_ordinary", lambda t, text: t.encode_ordinary(text)),
        peer(make, "tiktoken", "encode", lambda t, text: t.encode(text)),
        peer(make, "tokenizers", "encode", encode_with_tokenizers),
    ]


def peer(
    make: dict[str, Callable[[], Any]],
    package: str,
    call: str,
    encode: Callable[[Any, Any], Any],
    takes: type[str] | type[bytes] = str,
    ids: Callable[[Any], Any] = np.asarray,
    most_bytes: float = math.inf,
) -> Peer:
    """Return a way to encode of a package in `make`."""
    return Peer(
        package=package,
        call=call,
        make=make[package],
        encode=encode,
        ids=ids,
        takes=takes,
        most_bytes=most_bytes,
    )


def encode_with_tokenizers(tokenizer: Any, text: str) -> list[int]:
    """Return the ids that Hugging Face's tokenizers give."""
    return tokenizer.encode(text, add_special_tokens=False).ids
