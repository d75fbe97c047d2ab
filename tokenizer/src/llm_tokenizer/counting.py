"""Learn a byte-pair encoding by counting: slow, and short enough to see that it is right.

`learner` finds the same merges without counting anew.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from llm_tokenizer.merging import Merge, Pair, merge
from llm_tokenizer.vocabulary import BYTE_ORDER


def learn_by_counting(
    pieces: Mapping[bytes, int], room: int, min_frequency: int
) -> list[tuple[bytes, bytes]]:
    """Count all pairs of neighbouring tokens, join the most frequent, and start over.

    Of equally frequent pairs the one of lower ids comes first. Each merge makes a new token: the
    bytes of one token are always joined in the same way, as no merge has crossed its ends.

    Args:
        pieces: How often each piece occurs; no pair crosses from one to the next.
        room: Tokens to add to the 256 bytes; fewer if the pairs run out.
        min_frequency: Least count of a pair that is merged, at least 1.
    Returns:
        The merges in order, each the bytes of the left and of the right token.

    >>> learn_by_counting({b"abc": 3, b"ab": 1}, room=2, min_frequency=1)
    [(b'a', b'b'), (b'ab', b'c')]
    """
    tokens = [bytes([byte]) for byte in BYTE_ORDER]  # id -> bytes
    texts = [([BYTE_ORDER.index(byte) for byte in piece], n) for piece, n in pieces.items()]
    most, merges = len(tokens) + room, []
    while len(tokens) < most:
        counts: Counter[Pair] = Counter()
        for ids, n in texts:
            for pair in pairwise(ids):
                counts[pair] += n
        count, pair = min(((-count, pair) for pair, count in counts.items()), default=(0, (0, 0)))
        if -count < min_frequency:
            break
        texts = [(merge(ids, {pair: Merge(0, id=len(tokens))}), n) for ids, n in texts]
        left, right = (tokens[i] for i in pair)
        tokens.append(left + right)
        merges.append((left, right))
    return merges
