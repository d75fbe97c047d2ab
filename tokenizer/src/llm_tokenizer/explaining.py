"""How a text becomes tokens, as data: its pieces, and each merge of them in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

from llm_tokenizer.showing import quoted
from llm_tokenizer.special_tokens import Specials, parts_of
from llm_tokenizer.splitter import split_by_line, well_formed
from llm_tokenizer.tokenizer import Tokenizer

MOST_PIECES = 50  # of a text, from its start: what a reader may still look at
MOST_BYTES = 64  # of a piece: a longer one has too many merges to look at, and they take long

# What each line of the split rule takes; see `splitter`.
RULE = {
    1: "an English contraction: 's 't 'd 'm 'll 've 're",
    2: "letters, with one space before them if there is one",
    3: "numbers, with one space before them if there is one",
    4: "other signs, with one space before them if there is one",
    5: "white space, except its last character where more text follows",
    6: "what white space is left",
}
_KINDS = {2: "letter", 3: "number", 4: "sign"}

Ranks = Mapping[tuple[bytes, bytes], int]


@dataclass(frozen=True)
class Step:
    """A merge: the tokens before it, and which two of them it joins."""

    tokens: tuple[bytes, ...]
    ranks: tuple[int | None, ...]  # of each pair of neighbours; None if they have no merge
    at: int  # tokens[at] and tokens[at + 1] are joined

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """The two tokens that are joined."""
        return self.tokens[self.at], self.tokens[self.at + 1]

    @property
    def joined(self) -> bytes:
        """The token that they become."""
        return b"".join(self.pair)

    @property
    def rank(self) -> int:
        """The rank of the merge: the lowest of all `ranks`."""
        rank = self.ranks[self.at]
        assert rank is not None
        return rank

    @property
    def after(self) -> tuple[bytes, ...]:
        """The tokens after the merge."""
        return *self.tokens[: self.at], self.joined, *self.tokens[self.at + 2 :]

    @property
    def later(self) -> dict[tuple[bytes, bytes], int]:
        """The other pairs that have a merge, each once, and its rank, ascending."""
        known = zip(self.ranks, pairwise(self.tokens), strict=True)
        others = {(rank, pair) for rank, pair in known if rank is not None and pair != self.pair}
        return {pair: rank for rank, pair in sorted(others)}


@dataclass(frozen=True)
class Piece:
    """A piece of a text, or a special token in it."""

    text: str
    line: int | None  # of the split rule, 1 to 6; None for a special token
    takes: str  # what that line took, in words
    ends: str  # why the piece ends where it does, in words
    tokens: tuple[tuple[int, bytes], ...]  # ids and bytes
    steps: tuple[Step, ...] | None  # None for a piece of more than MOST_BYTES

    @cached_property
    def utf8(self) -> bytes:
        """The bytes of the piece."""
        return self.text.encode()


@dataclass(frozen=True)
class Explanation:
    """How a text becomes ids."""

    text: str
    pieces: tuple[Piece, ...]  # the first MOST_PIECES; special tokens count
    ids: tuple[int, ...]  # of the whole text
    n_merges: int  # of the vocabulary
    n_vocab: int

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of the whole text in UTF-8."""
        return len(self.text.encode())

    @cached_property
    def left_out(self) -> str:
        """The rest of the text, whose pieces are not explained."""
        return self.text[sum(len(piece.text) for piece in self.pieces) :]

    @property
    def distinct(self) -> list[Piece]:
        """The first of the pieces of each text: others become the same tokens in the same way."""
        first: dict[str, Piece] = {}
        for piece in self.pieces:
            first.setdefault(piece.text, piece)
        return list(first.values())


def explain(tokenizer: Tokenizer, text: str, *, allowed_special: Specials = ()) -> Explanation:
    """Explain how `text` becomes ids, merge by merge.

    Args:
        tokenizer: The tokenizer whose merges are shown.
        text: Any string; a lone surrogate is read as U+FFFD.
        allowed_special: Special tokens that become their id; others are ordinary text.
    Raises:
        TokenizerError: A plain string was given in place of several special tokens.

    >>> step = explain(Tokenizer.gpt2(), "low").pieces[0].steps[0]
    >>> step.tokens, step.ranks, step.joined
    ((b'l', b'o', b'w'), (5183, 66), b'ow')
    """
    text = well_formed(text)
    vocabulary = tokenizer.vocabulary
    parts = parts_of(text, vocabulary.special_tokens, allowed_special, ())
    return Explanation(
        text=text,
        pieces=tuple(islice(_pieces(tokenizer, parts), MOST_PIECES)),
        ids=tuple(tokenizer.encode(text, allowed_special=allowed_special, disallowed_special=())),
        n_merges=len(vocabulary.merges),
        n_vocab=tokenizer.n_vocab,
    )


def merge_steps(piece: bytes, ranks: Ranks) -> Iterator[Step]:
    """Give each merge of a piece in order: the pair of the lowest rank, of equal ones the leftmost.

    >>> [step.after for step in merge_steps(b"abab", {(b"a", b"b"): 0})]
    [(b'ab', b'a', b'b'), (b'ab', b'ab')]
    """
    tokens = tuple(bytes([byte]) for byte in piece)
    while True:
        found = tuple(map(ranks.get, pairwise(tokens)))
        known = [rank for rank in found if rank is not None]
        if not known:
            return
        step = Step(tokens, found, at=found.index(min(known)))
        yield step
        tokens = step.after


def _pieces(tokenizer: Tokenizer, parts: list[str | int]) -> Iterator[Piece]:
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.vocabulary.merges)}
    for number, part in enumerate(parts):
        if isinstance(part, int):
            yield _special(tokenizer, part)
            continue
        follows = "with the text" if number + 1 == len(parts) else "before a special token"
        end = 0
        for line, text in split_by_line(part):
            end += len(text)
            yield Piece(
                text,
                line,
                takes=_takes(line, text),
                ends=_ends(line, part[end : end + 1], follows),
                tokens=_tokens(tokenizer, text),
                steps=_steps(text.encode(), ranks),
            )


def _special(tokenizer: Tokenizer, i: int) -> Piece:
    token = tokenizer.decode_single_token_bytes(i)
    return Piece(token.decode(), None, "a special token", "with the token", ((i, token),), ())


def _tokens(tokenizer: Tokenizer, text: str) -> tuple[tuple[int, bytes], ...]:
    ids = tokenizer.encode_ordinary(text)
    return tuple(zip(ids, tokenizer.decode_tokens_bytes(ids), strict=True))


def _steps(piece: bytes, ranks: Ranks) -> tuple[Step, ...] | None:
    return tuple(merge_steps(piece, ranks)) if len(piece) <= MOST_BYTES else None


def _takes(line: int, text: str) -> str:
    """Return what a line of the split rule took."""
    if line == 1:
        return "a contraction"
    if line > 4:
        return "white space"
    kind = _KINDS[line]
    some = f"{kind}s" if len(text.removeprefix(" ")) > 1 else f"a {kind}"
    return f"a space and {some}" if text[0] == " " else some


def _ends(line: int, after: str, follows: str) -> str:
    """Return why a piece ends before the character `after`; if there is none, `follows` does."""
    if line == 1:
        return "with the contraction"
    if not after:
        return follows
    if line == 5:
        return f"before {quoted(after)}, the last of the white space"
    if line == 6:
        return f"before {quoted(after)}: only a space joins what follows"
    return f"before {quoted(after)}, no {_KINDS[line]}"
