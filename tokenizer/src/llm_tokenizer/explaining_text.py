"""What does `llm-tokenizer explain` print on a terminal, or as plain text?"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from llm_tokenizer.explaining import MOST_BYTES, RULE, Explanation, Piece, Step
from llm_tokenizer.showing import (
    ANSI_BACKGROUNDS,
    N_COLORS,
    character,
    counted,
    quoted,
    readable,
    width,
)
from llm_tokenizer.vocabulary import show_bytes

MOST_TOKENS = 20  # of a piece
MOST_LATER = 3  # pairs of a step
MOST_IDS = 100  # of the text
CELL = 3  # columns that a byte takes: two digits and a space
BOLD, PAIR = "1", "1;38;5;16;48;5;223"  # SGR codes: bold, and black on a light background

Paint = Callable[[str, str], str]  # a text and its SGR code -> what is printed


def plain(text: str, _: str) -> str:
    """Leave the text as it is."""
    return text


def colored(text: str, sgr: str) -> str:
    """Return the text in a color, or bold, for a terminal."""
    return f"\x1b[{sgr}m{text}\x1b[0m" if text else ""


def text_lines(explanation: Explanation, paint: Paint = plain) -> Iterator[str]:
    """Give the lines that explain how a text becomes tokens.

    Args:
        explanation: What `explain` returns.
        paint: `plain`, or `colored` for a terminal.
    """
    if not explanation.text:
        yield "the text is empty: no pieces, no tokens"
        return
    yield from _split(explanation, paint)
    yield ""
    yield from _merges(explanation, paint)
    yield ""
    yield from _ids(explanation, paint)


def _split(explanation: Explanation, paint: Paint) -> Iterator[str]:
    yield paint("1. The text is cut into pieces", BOLD)
    yield "   The first line of the split rule that fits takes as much as it can. No token crosses"
    yield "   a cut. The lines used here:"
    for number in sorted({piece.line for piece in explanation.pieces if piece.line}):
        yield f"   {number}  {RULE[number]}"
    yield ""
    rows = [("piece", "line", "takes", "ends")]
    for piece in explanation.pieces:
        rows.append((quoted(piece.text), str(piece.line or "-"), piece.takes, piece.ends))
    first, third = (max(width(row[i]) for row in rows) for i in (0, 2))
    for name, line, takes, ends in rows:
        yield f"   {_padded(name, first)}  {line:>4}  {_padded(takes, third)}  {ends}"
    if explanation.left_out:
        left_out = counted(len(explanation.left_out), "character")
        yield f"   left out: the other {left_out}; `llm-tokenizer show` prints all tokens"


def _merges(explanation: Explanation, paint: Paint) -> Iterator[str]:
    yield paint("2. Each piece: from bytes to tokens", BOLD)
    yield "   A piece begins as its bytes; vocab.json writes each as one character. Of all"
    yield "   neighbours that have a merge, ── joins those of the lowest rank, until none have one."
    n_merges = counted(explanation.n_merges, "merge")
    yield f'   Merges under "later" wait for it. The vocabulary has {n_merges}; ranks count from 0.'
    times = Counter(piece.text for piece in explanation.pieces)
    for piece in explanation.distinct:
        yield ""
        again = f", {times[piece.text]} times in the text" if times[piece.text] > 1 else ""
        yield f"   {paint(quoted(piece.text), BOLD)}{again}"
        yield from _piece(piece, paint)


def _piece(piece: Piece, paint: Paint) -> Iterator[str]:
    if piece.line is None:
        yield "     a special token: one id, and no merges"
    elif piece.steps is None:
        yield f"     {len(piece.utf8):,} bytes; merges are shown for {MOST_BYTES} at most"
    else:
        yield from _drawn(piece, piece.steps, paint)
    for i, (token, utf8) in enumerate(piece.tokens[:MOST_TOKENS]):
        background = f"38;5;16;48;5;{ANSI_BACKGROUNDS[i % N_COLORS]}"
        yield f'     id{token:>8}  "{paint(readable(utf8), background)}"'
    if (more := len(piece.tokens) - MOST_TOKENS) > 0:
        yield f"     and {more:,} tokens more"


def _drawn(piece: Piece, steps: tuple[Step, ...], paint: Paint) -> Iterator[str]:
    """Give a piece in columns, one a byte: its text, its bytes, and each merge."""
    characters = (_cell(character(one), len(one.encode())) for one in piece.text)
    yield _row("text", characters).rstrip()
    yield _row("bytes", (_cell(f"{byte:02X}", 1) for byte in piece.utf8)).rstrip()
    yield _row("vocab.json", (_cell(one, 1) for one in show_bytes(piece.utf8))).rstrip()
    for step in steps:
        yield _step(step, paint)
    if len(piece.tokens) > 1:
        tokens = (_cell(show_bytes(token), len(token)) for _, token in piece.tokens)
        yield _row("tokens", tokens) + " no neighbours have a merge"


def _step(step: Step, paint: Paint) -> str:
    """Return the tokens before a merge, the pair that it joins marked, and what it becomes."""
    left, right = map(show_bytes, step.pair)
    cells = [_cell(show_bytes(token), len(token)) for token in step.tokens]
    pair = left.ljust(CELL * len(step.pair[0]), "─") + right
    space = " " * (CELL * len(step.joined) - len(pair))
    cells[step.at : step.at + 2] = [paint(pair, PAIR) + space]
    line = _row(f"rank {step.rank:>5}", cells) + f" {left} + {right} = {show_bytes(step.joined)}"
    return line + _later(step)


def _later(step: Step) -> str:
    """Return the pairs that have a merge of a higher rank, the lowest first."""
    later = [f"{show_bytes(a)} {show_bytes(b)} {rank}" for (a, b), rank in step.later.items()]
    shown = ", ".join(later[:MOST_LATER])
    more = len(later) - MOST_LATER
    return (f"; later: {shown}" if later else "") + (f" and {more} more" if more > 0 else "")


def _row(name: str, cells: Iterable[str]) -> str:
    return f"     {name:<11} {''.join(cells)}"


def _cell(text: str, n_bytes: int) -> str:
    return _padded(text, CELL * n_bytes)


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def _ids(explanation: Explanation, paint: Paint) -> Iterator[str]:
    yield paint("3. The ids of the text", BOLD)
    ids, n_bytes = explanation.ids, explanation.n_bytes
    more = len(ids) - MOST_IDS
    listed = " ".join(map(str, ids[:MOST_IDS])) + (f" and {more:,} more" if more > 0 else "")
    yield f"   {listed}"
    sums = f"{counted(n_bytes, 'byte')} in {counted(len(ids), 'token')}"
    yield f"   {sums}: {n_bytes / len(ids):.1f} bytes a token"
