"""Learn the merges of a byte-pair encoding from text.

Memory grows with the distinct pieces of the text, not with its length: each distinct piece is kept
once, with its count. Pair counts are corrected after each merge where it changed something and
never taken anew; the largest is found through a heap whose outdated entries are dropped as they
come up.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1. Of equally frequent pairs the one of
lower ids comes first, as in Hugging Face tokenizers' BpeTrainer.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.files import read_text
from llm_tokenizer.merging import Pair
from llm_tokenizer.splitter import split, well_formed
from llm_tokenizer.vocabulary import BYTE_ORDER, END_OF_TEXT, Vocabulary


def train(
    texts: Iterable[str | Path],
    vocab_size: int,
    *,
    special_tokens: Iterable[str] = (END_OF_TEXT,),
    min_frequency: int = 2,
) -> Vocabulary:
    """Learn a vocabulary: 256 bytes, then the most frequent pairs, then the special tokens.

    Args:
        texts: Texts, or paths of UTF-8 files; no merge crosses from one to the next.
        vocab_size: Tokens wanted, special ones and the 256 bytes included.
        special_tokens: Their texts, given the last ids in this order.
        min_frequency: Occurrences below which a pair is not merged; where no pair has as many, the
            vocabulary stays smaller than asked for.
    Returns:
        The vocabulary, the same for the same texts in any order.
    Raises:
        TokenizerError: `vocab_size` has no room for the bytes and the special tokens, or a single
            text was given in place of several, or a file is missing or not UTF-8 text.
    """
    specials = list(dict.fromkeys(special_tokens))
    room = vocab_size - len(BYTE_ORDER) - len(specials)
    if room < 0:
        raise TokenizerError(
            f"vocab_size must be at least {vocab_size - room} for 256 bytes and "
            f"{len(specials)} special tokens, got {vocab_size}"
        )
    if isinstance(texts, str | Path):
        raise TokenizerError("texts must be several texts or paths; put a single one in a list")
    pieces = Counter(piece for text in _read(texts) for piece in split(text))
    return Vocabulary.from_merges(_learn(pieces, room, min_frequency), specials)


def _read(texts: Iterable[str | Path]) -> Iterator[str]:
    for text in texts:
        yield well_formed(text) if isinstance(text, str) else read_text(text)


def _learn(pieces: Counter[str], room: int, min_frequency: int) -> list[tuple[bytes, bytes]]:
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    id_of = {token: i for i, token in enumerate(tokens)}
    words = [[id_of[bytes([b])] for b in piece.encode()] for piece in pieces]
    frequencies = list(pieces.values())
    counts: Counter[Pair] = Counter()
    words_with: defaultdict[Pair, set[int]] = defaultdict(set)
    for w, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += frequencies[w]
            words_with[pair].add(w)
    queue = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(queue)

    merges: list[tuple[bytes, bytes]] = []
    while queue and len(id_of) < len(BYTE_ORDER) + room:
        count, pair = heapq.heappop(queue)
        if -count != counts[pair]:  # outdated: put it back where it belongs now
            if counts[pair]:
                heapq.heappush(queue, (-counts[pair], pair))
            continue
        if -count < min_frequency:
            break
        left, right = tokens[pair[0]], tokens[pair[1]]
        merges.append((left, right))
        new = id_of.setdefault(left + right, len(id_of))
        if new == len(tokens):
            tokens.append(left + right)
        changed: set[Pair] = set()
        for w in words_with.pop(pair):
            changed |= _replace(words, w, pair, new, frequencies[w], counts, words_with)
        for grown in changed:
            heapq.heappush(queue, (-counts[grown], grown))
    return merges


def _replace(
    words: list[list[int]],
    w: int,
    pair: Pair,
    new: int,
    frequency: int,
    counts: Counter[Pair],
    words_with: defaultdict[Pair, set[int]],
) -> set[Pair]:
    """Join `pair` in word `w`, correct the counts, and return the pairs that have become more."""
    word, joined, i = words[w], [], 0
    while i < len(word):
        found = (word[i], word[i + 1]) == pair if i + 1 < len(word) else False
        joined.append(new if found else word[i])
        i += 2 if found else 1
    for gone in pairwise(word):
        counts[gone] -= frequency
    grown = set()
    for come in pairwise(joined):
        counts[come] += frequency
        if new in come:
            words_with[come].add(w)
            grown.add(come)
    words[w] = joined
    return grown
