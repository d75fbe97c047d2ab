"""What does `llm-tokenizer explain` write as a page? One file that needs no network, no scripts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources

from llm_tokenizer.explaining import MOST_BYTES, RULE, Explanation, Piece, Step
from llm_tokenizer.showing import N_COLORS, character, counted, quoted, readable
from llm_tokenizer.vocabulary import show_bytes

MOST_TOKENS = 200  # of the text, at its top, and of a piece
MOST_LATER = 5  # pairs of a merge in words

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>How a text becomes tokens</h1>
{body}
</main>
</body>
</html>
"""

SPLIT = """<section aria-labelledby="split">
<h2 id="split"><span class="number">1</span> The text is cut into pieces</h2>
<p>At each place, the first line of the split rule that fits takes as much as it can. Tokens are
made inside of pieces: none crosses a cut.</p>
<div class="scroll" role="region" tabindex="0" aria-label="The pieces">
<table class="pieces"><thead><tr><th scope="col">Piece</th><th scope="col">Line</th>
<th scope="col">Takes</th><th scope="col">Ends</th></tr></thead>
<tbody>
{rows}</tbody></table></div>
{left_out}
<details><summary>The six lines of the split rule</summary>
<ol>{rule}</ol>
<p>Which characters are letters, numbers and white space is Unicode's decision; all others are
signs.</p>
</details>
</section>
"""

MERGES = """<section aria-labelledby="merges">
<h2 id="merges"><span class="number">2</span> Each piece: from bytes to tokens</h2>
<p>A piece begins as its UTF-8 bytes, and each byte is a token. vocab.json writes a byte as one
character: <code>Ġ</code> is a space. Read a picture from its top:</p>
<ul class="legend">
<li>a number between two tokens is the <b>rank</b> of their merge: its place among the {n_merges}
merges of the vocabulary, counted from 0; no number, no merge;</li>
<li>the lowest rank, <b class="rank best">boxed</b>, is joined first: one line down, the two are
<span class="sample">one token</span>;</li>
<li>this goes on until no neighbours have a merge.</li>
</ul>
<ol class="made">
{pieces}
</ol>
</section>
"""

IDS = """<section aria-labelledby="ids">
<h2 id="ids"><span class="number">3</span> The ids of the text</h2>
<p>These numbers are all that a model sees of the text.</p>
<p class="ids"><code>{ids}</code>{more}</p>
</section>
"""


def page(explanation: Explanation) -> str:
    """Return the page that explains how a text becomes tokens.

    Args:
        explanation: What `explain` returns.
    """
    style = resources.files("llm_tokenizer").joinpath("assets/explaining.css").read_text("utf-8")
    title = escape(f"How {quoted(explanation.text)} becomes tokens")
    return PAGE.format(title=title, style=style, body=_body(explanation))


def _body(explanation: Explanation) -> str:
    if not explanation.text:
        return '<p class="lead">The text is empty: no pieces, no tokens.</p>'
    return "\n".join(
        (_summary(explanation), _split(explanation), _merges(explanation), _ids(explanation))
    )


def _summary(explanation: Explanation) -> str:
    n_ids, n_bytes = len(explanation.ids), explanation.n_bytes
    vocabulary = f"of a vocabulary of {explanation.n_vocab:,}"
    lead = f"{counted(n_bytes, 'byte')} in {counted(n_ids, 'token')} {vocabulary}: "
    tokens = [token for piece in explanation.pieces for token in piece.tokens]
    return (
        f'<p class="lead">{lead}{n_bytes / n_ids:.1f} bytes a token.</p>\n'
        f"{_token_list(tokens, n_ids)}"
    )


def _token_list(tokens: list[tuple[int, bytes]], n_tokens: int) -> str:
    """Return the first of several tokens, each with its id and a background."""
    items = "".join(
        f'<li class="token t{k % N_COLORS}">'
        f"<bdi>{_visible(readable(utf8))}</bdi><small>{i}</small></li>"
        for k, (i, utf8) in enumerate(tokens[:MOST_TOKENS])
    )
    more = n_tokens - min(len(tokens), MOST_TOKENS)
    rest = f'<li class="more">and {counted(more, "token")} more</li>' if more else ""
    return f'<ol class="tokens" aria-label="Tokens and their ids">{items}{rest}</ol>'


def _visible(text: str) -> str:
    """Return a readable text as HTML, its spaces shown."""
    return escape(text).replace(" ", '<span class="space">␣</span>')


def _split(explanation: Explanation) -> str:
    numbers = {piece.text: number for number, piece in enumerate(explanation.distinct)}
    rows = "".join(
        f'<tr><th scope="row"><a href="#piece-{numbers[piece.text]}">{_name(piece)}</a></th>'
        f"<td>{piece.line or '-'}</td><td>{piece.takes}</td>"
        f"<td><bdi>{escape(piece.ends)}</bdi></td></tr>\n"
        for piece in explanation.pieces
    )
    left_out = counted(len(explanation.left_out), "character")
    return SPLIT.format(
        rows=rows,
        rule="".join(f"<li>{takes}</li>" for takes in RULE.values()),
        left_out=f"<p>Left out: the other {left_out} of the text.</p>"
        if explanation.left_out
        else "",
    )


def _name(piece: Piece) -> str:
    return f"<bdi>{_visible(quoted(piece.text))}</bdi>"


def _merges(explanation: Explanation) -> str:
    times = Counter(piece.text for piece in explanation.pieces)
    pieces = "\n".join(
        f'<li id="piece-{number}"><h3>{_name(piece)}</h3>{_piece(piece, times[piece.text])}</li>'
        for number, piece in enumerate(explanation.distinct)
    )
    return MERGES.format(n_merges=f"{explanation.n_merges:,}", pieces=pieces)


def _piece(piece: Piece, times: int) -> str:
    facts = [counted(len(piece.utf8), "byte"), counted(len(piece.tokens), "token")]
    if times > 1:
        facts.append(f"{times} times in the text")
    if piece.line is None:
        facts = ["a special token: one id, no merges"]
    elif piece.steps is None:
        facts.append(f"its merges are left out: pieces of up to {MOST_BYTES} bytes show them")
    fact = f'<p class="facts">{", ".join(facts)}</p>'
    if not piece.line or piece.steps is None:
        return fact + _token_list(list(piece.tokens), len(piece.tokens))
    return fact + _picture(piece, piece.steps) + _in_words(piece.steps)


def _picture(piece: Piece, steps: tuple[Step, ...]) -> str:
    """Return a table of a column a byte, in which each row of tokens is one merge further."""
    name = escape(quoted(piece.text), quote=True)
    rows = [
        _row("text", (_cell(character(one), len(one.encode())) for one in piece.text), "text"),
        _row("bytes", (_cell(f"{byte:02X}", 1) for byte in piece.utf8), "bytes"),
    ]
    new = -1  # where the token of the merge before is
    for number, step in enumerate(steps, start=1):
        rows.append(_row(f"merge {number}", _tokens_before(step, new), "step"))
        new = step.at
    rows.append(_row("tokens", _final(piece), "final"))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Merges of {name}">'
        f'<table class="growth">{"".join(rows)}</table></div>'
    )


def _row(name: str, cells: Iterable[str], kind: str) -> str:
    return f'<tr class="{kind}"><th scope="row">{name}</th>{"".join(cells)}</tr>\n'


def _cell(text: str, n_bytes: int, kind: str = "", more: str = "") -> str:
    span = f' colspan="{n_bytes}"' if n_bytes > 1 else ""
    look = f' class="{kind}"' if kind else ""
    return f"<td{span}{look}><bdi>{escape(text)}</bdi>{more}</td>"


def _tokens_before(step: Step, new: int) -> Iterator[str]:
    """Give the cells of the tokens before a merge, with the ranks of neighbours between them."""
    for k, token in enumerate(step.tokens):
        kinds = ["new"] * (k == new) + ["left"] * (k == step.at) + ["right"] * (k == step.at + 1)
        rank = step.ranks[k - 1] if k else None
        best = " best" if k == step.at + 1 else ""
        more = "" if rank is None else f'<small class="rank{best}">{rank}</small>'
        yield _cell(show_bytes(token), len(token), " ".join(kinds), more)


def _final(piece: Piece) -> Iterator[str]:
    for k, (i, token) in enumerate(piece.tokens):
        kind = f"token t{k % N_COLORS}"
        yield _cell(show_bytes(token), len(token), kind, f"<small>{i}</small>")


def _in_words(steps: tuple[Step, ...]) -> str:
    if not steps:
        return ""
    items = "".join(f"<li>{_sentence(step)}</li>" for step in steps)
    summary = "The merge" if len(steps) == 1 else f"The {len(steps)} merges"
    return f"<details><summary>{summary} in words</summary><ol>{items}</ol></details>"


def _sentence(step: Step) -> str:
    left, right, joined = map(_code, (*step.pair, step.joined))
    later = [f"{_code(a)} {_code(b)} {rank}" for (a, b), rank in step.later.items()]
    waits = f"; with a higher rank: {', '.join(later[:MOST_LATER])}" if later else ""
    more = len(later) - MOST_LATER
    return (
        f"{left} + {right} = {joined}, rank {step.rank}{waits}"
        f"{f' and {more} more' if more > 0 else ''}"
    )


def _code(token: bytes) -> str:
    return f"<code>{escape(show_bytes(token))}</code>"


def _ids(explanation: Explanation) -> str:
    shown = ", ".join(map(str, explanation.ids[:MOST_TOKENS]))
    more = len(explanation.ids) - MOST_TOKENS
    return IDS.format(ids=shown, more=f" and {more:,} more" if more > 0 else "")
