"""Which tokens does a text have, and how is each shown?"""

from collections.abc import Iterable

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import check_length
from gpt2.visual.fonts import drawable
from llm_tokenizer import Tokenizer
from llm_tokenizer.errors import UnknownTokenError
from llm_tokenizer.showing import readable

LONGEST_LABEL = 14  # characters


def token_ids(model: GPT2, text: str) -> list[int]:
    """Return the ids of a text's tokens; special tokens may be among them.

    Raises:
        InputError: The text is empty or longer than the model's context, or the model has no
            tokenizer.
    """
    ids = model.require_tokenizer().encode(text, allowed_special="all")
    check_length(ids, model.config.n_positions)
    return ids


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """Return the id of a token by its text; spaces count.

    Raises:
        InputError: The text is not one token.
    """
    ids = tokenizer.encode(text, allowed_special="all")
    if len(ids) == 1:
        return ids[0]
    parts = ", ".join(map(repr, token_texts(tokenizer, ids))) or "nothing"
    spaced = f" {text}"
    hint = "take another one"
    if text.strip() and len(tokenizer.encode(spaced, allowed_special="all")) == 1:
        hint = f"{spaced!r}, with a space before it, is one"
    raise InputError(f"{text!r} must be one token of this vocabulary, got {parts}; {hint}")


def token_texts(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Return each token as it is shown: what is not printable is escaped.

    Bytes that are no whole character are shown as \\xe2, an id that no token has as [270]. Spaces
    are kept.

    >>> token_texts(Tokenizer.gpt2(), [464, 3797, 198, 447])
    ['The', ' cat', '\\\\n', '\\\\xe2\\\\x80']
    """
    return [_token_text(tokenizer, i) for i in ids]


def label(token: str) -> str:
    """Return a token's text for a label: spaces are seen, a long one is cut short.

    >>> label(" the"), label("internationalization")
    ('␣the', 'international…')
    """
    text = drawable(token.replace(" ", "␣"))
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def _token_text(tokenizer: Tokenizer, i: int) -> str:
    try:
        return readable(tokenizer.decode_single_token_bytes(i))
    except UnknownTokenError:
        return f"[{i}]"
