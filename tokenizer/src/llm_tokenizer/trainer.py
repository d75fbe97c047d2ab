"""Learn a vocabulary from texts and files; `counting` is the same for pieces, in some 20 lines.

The most frequent pair of neighbouring tokens becomes a token, again and again, until there are as
many as wanted; pairs are counted inside pieces only, each as often as its piece occurs. Of equally
frequent pairs the one of lower ids comes first, as in Hugging Face tokenizers' BpeTrainer.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.text_files import text_parts
from llm_tokenizer.vocabulary import BYTE_ORDER, END_OF_TEXT, Vocabulary

if TYPE_CHECKING:
    from llm_tokenizer.piece_counter import PieceCounter

MOST_BYTES = 2**29  # of all distinct pieces: two pairs a byte must be numbered in 31 bits


def train(
    texts: Iterable[str | Path],
    vocab_size: int,
    *,
    special_tokens: Iterable[str] = (END_OF_TEXT,),
    min_frequency: int = 2,
    show_progress: bool = False,
) -> Vocabulary:
    """Learn a vocabulary: 256 bytes, then the most frequent pairs, then the special tokens.

    Memory grows with the distinct pieces of the texts, not with their length.

    Args:
        texts: Texts, or paths of UTF-8 files; no merge crosses from one to the next.
        vocab_size: Tokens wanted, special ones and the 256 bytes included.
        special_tokens: Their texts, given the last ids in this order.
        min_frequency: Occurrences below which a pair is not merged; where no pair has as many, the
            vocabulary stays smaller than asked for.
        show_progress: Whether to show a bar on stderr.
    Returns:
        The vocabulary, the same for the same texts in any order.
    Raises:
        TokenizerError: `vocab_size` has no room for the bytes and the special tokens, a special
            token cannot be one, a single text was given in place of several, a file is missing or
            not UTF-8 text, or there are more than MOST_BYTES of distinct pieces.
    """
    if isinstance(special_tokens, str):
        raise TokenizerError("special_tokens must be several texts; put a single one in a list")
    specials = list(dict.fromkeys(special_tokens))
    room = index(vocab_size) - len(BYTE_ORDER) - len(specials)
    if room < 0:
        raise TokenizerError(
            f"vocab_size must be at least {vocab_size - room} for 256 bytes and "
            f"{len(specials)} special tokens, got {vocab_size}"
        )
    if isinstance(texts, str | Path):
        raise TokenizerError("texts must be several texts or paths; put a single one in a list")
    Vocabulary.from_merges((), specials)  # raises if one cannot be: not only after the learning
    bar = _Bar() if show_progress else None
    with bar or nullcontext():
        pieces = _count(texts, bar)
        merges = _learn(pieces, room, max(min_frequency, 1), bar)
    return Vocabulary.from_merges(merges, specials)


def _count(texts: Iterable[str | Path], bar: "_Bar | None") -> "PieceCounter":
    # Here, as this loads Numba, which takes longer than all the rest of the package.
    from llm_tokenizer.piece_counter import PieceCounter

    pieces = PieceCounter()
    for text in texts:
        if not isinstance(text, str | Path):
            raise TokenizerError(f"texts must be strings or paths, got {type(text).__name__}")
        for part in [text] if isinstance(text, str) else text_parts(text):
            pieces.add(part)
            if bar:
                bar.counted(len(part))
    return pieces


def _learn(
    pieces: "PieceCounter", room: int, min_frequency: int, bar: "_Bar | None"
) -> list[tuple[bytes, bytes]]:
    from llm_tokenizer.learner import learn

    content, bounds, frequencies = pieces.pieces()
    if bounds[-1] > MOST_BYTES:
        raise TokenizerError(
            f"the texts must have no more than {MOST_BYTES:,} bytes of distinct pieces, got "
            f"{bounds[-1]:,}; train on a sample of them"
        )
    merges = []
    for merge in learn(content, bounds, frequencies, room, min_frequency):
        merges.append(merge)
        if bar:
            bar.learned(len(merges), room)
    return merges


class _Bar:
    """Progress on stderr: characters while counting, then tokens while learning."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._counting = self._progress.add_task("counting pieces", total=None)
        self._learning = self._progress.add_task("learning merges", total=None, start=False)
        self._characters = 0

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def counted(self, characters: int) -> None:
        self._characters += characters
        description = f"counting pieces: {self._characters:,} characters"
        self._progress.update(self._counting, description=description)

    def learned(self, tokens: int, room: int) -> None:
        self._progress.update(self._counting, total=1, completed=1)
        self._progress.start_task(self._learning)
        description = f"learning merges: {tokens:,} of {room:,}"
        self._progress.update(self._learning, description=description, completed=tokens, total=room)
